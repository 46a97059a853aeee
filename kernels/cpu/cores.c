/* SPDX-License-Identifier: Apache-2.0
 *
 * How many threads a team should have: the processors the scheduler lets this process use, cut to
 * what its control groups pay for. More threads than quota only get throttled in the middle of a
 * barrier. Reads cgroup v2 (cpu.max of the own group and of all above it) and v1
 * (cpu.cfs_quota_us); whatever is absent or odd counts as no limit.
 */
#include "ensod_build.h"

#include "kernels/cpu/team.h"

#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CGROUP_ROOT "/sys/fs/cgroup"

/* The first line of a small file, without its newline. */
static bool read_line(const char *path, char *line, size_t size)
{
    FILE *f = fopen(path, "re");

    if (f == NULL)
        return false;
    bool ok = fgets(line, (int)size, f) != NULL;

    fclose(f);
    if (ok)
        line[strcspn(line, "\n")] = '\0';
    return ok;
}

/* Processors that quota per period pays for; 0 when there is no limit. */
static unsigned quota_cores(long long quota, long long period)
{
    if (quota <= 0 || period <= 0)
        return 0;
    long long cores = (quota + period - 1) / period;

    return cores > ENSO_TEAM_MAX ? 0 : (unsigned)cores;
}

static unsigned tighter(unsigned a, unsigned b)
{
    return a == 0 ? b : b == 0 ? a : ENSO_MIN(a, b);
}

/* The tightest limit of the group `path` ("/a/b") and its parents under `root`. */
static unsigned limit_of_path(const char *root, char *path, bool v2)
{
    unsigned limit = 0;

    for (;;) {
        char file[1200], line[128];
        long long quota = 0, period = 0;

        if (v2) {
            snprintf(file, sizeof(file), "%s%s/cpu.max", root, path);
            if (read_line(file, line, sizeof(line)) &&
                sscanf(line, "%lld %lld", &quota, &period) == 2)
                limit = tighter(limit, quota_cores(quota, period)); /* "max" does not scan */
        } else {
            snprintf(file, sizeof(file), "%s%s/cpu.cfs_quota_us", root, path);
            if (read_line(file, line, sizeof(line)) && sscanf(line, "%lld", &quota) == 1) {
                snprintf(file, sizeof(file), "%s%s/cpu.cfs_period_us", root, path);
                if (read_line(file, line, sizeof(line)) && sscanf(line, "%lld", &period) == 1)
                    limit = tighter(limit, quota_cores(quota, period));
            }
        }
        char *slash = strrchr(path, '/');

        if (slash == NULL)
            return limit;
        *slash = '\0'; /* the parent; "" is the root itself, looked at last */
    }
}

static unsigned cgroup_limit(void)
{
    FILE *f = fopen("/proc/self/cgroup", "re");
    char line[1024];
    unsigned limit = 0;

    if (f == NULL)
        return 0;
    while (fgets(line, sizeof(line), f) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        char *controllers = strchr(line, ':');
        char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

        if (path == NULL)
            continue;
        *path++ = '\0';
        controllers++;
        if (strcmp(path, "/") == 0)
            path[0] = '\0';
        if (controllers[0] == '\0')
            limit = tighter(limit, limit_of_path(CGROUP_ROOT, path, true));
        else if (strcmp(controllers, "cpu") == 0 || strcmp(controllers, "cpu,cpuacct") == 0 ||
                 strcmp(controllers, "cpuacct,cpu") == 0)
            limit = tighter(limit, limit_of_path(CGROUP_ROOT "/cpu", path, false));
    }
    fclose(f);
    return limit;
}

unsigned enso_team_default_size(void)
{
    cpu_set_t set;
    long cores;

    if (sched_getaffinity(0, sizeof(set), &set) == 0)
        cores = CPU_COUNT(&set);
    else
        cores = sysconf(_SC_NPROCESSORS_ONLN);
    if (cores < 1)
        cores = 1;
    if (cores > ENSO_TEAM_MAX)
        cores = ENSO_TEAM_MAX;
    return tighter((unsigned)cores, cgroup_limit());
}
