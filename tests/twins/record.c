/* SPDX-License-Identifier: Apache-2.0
 *
 * record FILE: write what every instruction of kernels/cuda/ptx.cuh answers to fixed inputs. As
 * record-cuda, built by nvcc, on a card: put its file into tests/twins/golden, and check_twins
 * holds the emulation to it from then on. As record, over the emulation, it shows what it would be.
 */
#include "tests/twins/cases.h"

int main(int argc, char **argv)
{
    struct cudaDeviceProp properties;
    FILE *to = argc == 2 ? fopen(argv[1], "w") : NULL;
    int error = cudaErrorInvalidValue;

    if (to == NULL) {
        fprintf(stderr, "usage: record FILE\n");
        return 2;
    }
    if (cudaSetDevice(0) == cudaSuccess && cudaGetDeviceProperties(&properties, 0) == cudaSuccess) {
        fprintf(stderr, "%s, compute capability %d.%d\n", properties.name, properties.major,
                properties.minor);
        error = twins_record(to, properties.major >= 8);
    }
    if (fclose(to) != 0 || error != cudaSuccess) {
        fprintf(stderr, "record: failed with error %d\n", error);
        return 1;
    }
    return 0;
}
