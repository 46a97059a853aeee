/* SPDX-License-Identifier: Apache-2.0
 *
 * Print a document made from the table of options: write_docs markdown|example|man. Not installed;
 * run by `make configuration-docs`.
 */
#include <stdio.h>
#include <string.h>

#include "base/buffer.h"
#include "config/options.h"

int main(int argc, char *argv[])
{
    struct enso_buffer b = ENSO_BUFFER_INIT;
    int result = 1;

    if (argc == 2 && strcmp(argv[1], "markdown") == 0)
        enso_options_write_markdown(&b);
    else if (argc == 2 && strcmp(argv[1], "example") == 0)
        enso_options_write_example(&b);
    else if (argc == 2 && strcmp(argv[1], "man") == 0)
        enso_options_write_man(&b);
    if (b.size == 0)
        (void)fputs("usage: write_docs markdown|example|man\n", stderr); /* we fail anyway */
    else if (!b.failed && fwrite(b.data, 1, b.size, stdout) == b.size && fflush(stdout) == 0)
        result = 0;
    enso_buffer_done(&b);
    return result;
}
