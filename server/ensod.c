/* SPDX-License-Identifier: Apache-2.0
 *
 * The daemon's main().
 */
int main(void)
{
    return 0;
}
