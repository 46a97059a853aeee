/* SPDX-License-Identifier: Apache-2.0
 *
 * Cards whose limits the emulation can take on, from the CUDA programming guide's table of compute
 * capabilities and NVIDIA's data sheets. All of them take 1,024 threads a block, 65,535 blocks in y
 * and z and 48 KiB of shared memory without asking; they differ in what a kernel may ask for.
 */
#include "tests/cuda_emulation/emulator.h"

#include <stdlib.h>

namespace enso_emulated
{

namespace
{
constexpr size_t KIB = 1024, MIB = KIB * KIB, GIB = KIB * MIB;

const profile profiles[] = {
    {"A100", "NVIDIA A100-SXM4-40GB (emulated)", 8, 0, 108, 40 * GIB, 48 * KIB, 163 * KIB,
     164 * KIB, 2048, 40 * MIB},
    {"V100", "Tesla V100-SXM2-16GB (emulated)", 7, 0, 80, 16 * GIB, 48 * KIB, 96 * KIB, 96 * KIB,
     2048, 6 * MIB}, /* too old for us */
    {"T4", "Tesla T4 (emulated)", 7, 5, 40, 15 * GIB, 48 * KIB, 64 * KIB, 64 * KIB, 1024, 4 * MIB},
    {"L4", "NVIDIA L4 (emulated)", 8, 9, 58, 22 * GIB, 48 * KIB, 99 * KIB, 100 * KIB, 1536,
     48 * MIB},
    {"H100", "NVIDIA H100 80GB HBM3 (emulated)", 9, 0, 132, 79 * GIB, 48 * KIB, 227 * KIB,
     228 * KIB, 2048, 50 * MIB},
    {"B200", "NVIDIA B200 (emulated)", 10, 0, 148, 179 * GIB, 48 * KIB, 227 * KIB, 228 * KIB, 2048,
     126 * MIB},
    {"RTX50", "NVIDIA GeForce RTX 5090 (emulated)", 12, 0, 170, 31 * GIB, 48 * KIB, 99 * KIB,
     100 * KIB, 1536, 96 * MIB},
};

/* The value of the device in a list between commas, whose last one is that of all that follow; in
 * room, which is large enough for what is ours. */
const char *value_for(int device, const char *list, char *room, size_t size)
{
    const char *comma = strchr(list, ',');

    for (; device > 0 && comma != nullptr; device--) {
        list = comma + 1;
        comma = strchr(list, ',');
    }
    snprintf(room, size, "%.*s", (int)(comma != nullptr ? comma - list : strlen(list)), list);
    return room;
}

profile choose(int device)
{
    const char *name = getenv("ENSO_CUDA_EMULATED"), *memory = getenv("ENSO_CUDA_EMULATED_MEMORY");
    profile chosen = profiles[0];
    char room[32];

    for (const profile &p : profiles)
        if (name != nullptr && strcmp(value_for(device, name, room, sizeof(room)), p.name) == 0)
            chosen = p;
    if (memory != nullptr)
        chosen.memory_bytes = strtoull(value_for(device, memory, room, sizeof(room)), nullptr, 10);
    return chosen;
}

struct all_profiles {
    profile of[MAX_DEVICES];

    all_profiles()
    {
        for (int i = 0; i < MAX_DEVICES; i++)
            of[i] = choose(i);
    }
};

} // namespace

const profile &device_profile_of(int device)
{
    static const all_profiles chosen;

    return chosen.of[device];
}

const profile &device_profile(void)
{
    return device_profile_of(device_current());
}

const char *wish_now(const char *variable, char *room, size_t size)
{
    const char *given = getenv(variable);
    FILE *file;

    room[0] = '\0';
    if (given == nullptr || given[0] != '@')
        return given != nullptr ? given : room;
    file = fopen(given + 1, "re");
    if (file != nullptr) {
        room[fread(room, 1, size - 1, file)] = '\0';
        fclose(file);
    }
    return room;
}

uint64_t seed(void)
{
    static const char *const text = getenv("ENSO_CUDA_EMULATED_SEED");
    static const uint64_t value = text != nullptr ? strtoull(text, nullptr, 10) : 1;

    return value;
}

int code_architecture(void)
{
    const char *text = getenv("ENSO_CUDA_EMULATED_CODE");

    return text != nullptr ? atoi(text) : device_profile().major * 10 + device_profile().minor;
}

unsigned max_blocks(void)
{
    const char *text = getenv("ENSO_CUDA_EMULATED_BLOCKS");

    return text != nullptr ? (unsigned)strtoul(text, nullptr, 10) : 65535 * 16;
}

} // namespace enso_emulated
