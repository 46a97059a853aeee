/* SPDX-License-Identifier: Apache-2.0
 *
 * Finding and loading cuBLASLt: see cublaslt_api.h. It comes with CUDA's toolkit, with a
 * distribution's packages, or below Python's site-packages with PyTorch; of these only the first
 * two tell the system's loader. Version 13 is looked for everywhere before version 12, as it knows
 * more cards; a driver too old for it refuses when the handle is made, and the search goes on.
 *
 * Touches no device: the tests load libraries of their own through it.
 */
#include "ensod_build.h"

#include "kernels/cuda/cublaslt_api.h"

#include <dlfcn.h>
#include <glob.h>
#include <limits.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/macros.h"
#include "base/memory.h"

static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};

#define PYTHON(prefix)                                                                             \
    prefix "/nvidia/cu13/lib", prefix "/nvidia/cublas/lib", prefix "/nvidia/cu12/lib"

const char *const *enso__cublaslt_folders(void)
{
    static const char *const folders[] = {
        "$CUDA_HOME/lib64",
        "$CUDA_PATH/lib64",
        "/usr/local/cuda/lib64",
        "/usr/local/cuda-1[23]*/lib64",
        "/usr/local/cuda/targets/*-linux/lib",
        "/opt/cuda/lib64",
        PYTHON("$VIRTUAL_ENV/lib/python3*/site-packages"),
        PYTHON("$CONDA_PREFIX/lib/python3*/site-packages"),
        PYTHON("$HOME/.local/lib/python3*/site-packages"),
        PYTHON("/usr/local/lib/python3*/dist-packages"),
        PYTHON("/usr/local/lib/python3*/site-packages"),
        PYTHON("/usr/lib/python3*/dist-packages"),
        PYTHON("/usr/lib/python3*/site-packages"),
        PYTHON("/opt/*/lib/python3*/site-packages"),
        "$ORIGIN",
        NULL,
    };

    return folders;
}

/* The folder of this module. */
static bool own_folder(char ret[PATH_MAX])
{
    Dl_info info;
    char *slash;

    if (dladdr((const void *)names, &info) == 0 || info.dli_fname == NULL ||
        realpath(info.dli_fname, ret) == NULL)
        return false;
    slash = strrchr(ret, '/');
    if (slash == NULL)
        return false;
    *slash = '\0';
    return true;
}

/* A folder's pattern with what a leading $NAME stands for; false when that is unset. */
static bool expand(const char *folder, char *ret, size_t size)
{
    char name[32], origin[PATH_MAX];

    if (folder[0] != '$')
        return snprintf(ret, size, "%s", folder) < (int)size;
    size_t n = strcspn(folder, "/");
    if (n >= sizeof(name))
        return false;
    memcpy(name, folder + 1, n - 1);
    name[n - 1] = '\0';
    const char *value = secure_getenv(name);
    if (strcmp(name, "ORIGIN") == 0)
        value = own_folder(origin) ? origin : NULL;
    if (value == NULL || value[0] != '/')
        return false;
    return snprintf(ret, size, "%s%s", value, folder + n) < (int)size;
}

static char *copy(const char *text)
{
    size_t n = strlen(text) + 1;
    char *own = enso_alloc(n);

    if (own != NULL)
        memcpy(own, text, n);
    return own;
}

/* File number *i of `name` below the folder's pattern, or *i less by how many there are. */
static char *candidate_below(const char *folder, const char *name, size_t *i)
{
    char pattern[PATH_MAX], path[PATH_MAX];
    glob_t found = {0};
    char *own = NULL;

    if (!expand(folder, pattern, sizeof(pattern)) ||
        snprintf(path, sizeof(path), "%s/%s", pattern, name) >= (int)sizeof(path) ||
        glob(path, 0, NULL, &found) != 0)
        return NULL;
    if (*i < found.gl_pathc)
        own = copy(found.gl_pathv[*i]);
    else
        *i -= found.gl_pathc;
    globfree(&found);
    return own;
}

char *enso__cublaslt_candidate(const char *const *folders, size_t i)
{
    for (size_t v = 0; v < ENSO_ARRAY_SIZE(names); v++) {
        if (i-- == 0)
            return copy(names[v]);
        for (size_t f = 0; folders[f] != NULL; f++) {
            char *path = candidate_below(folders[f], names[v], &i);

            if (path != NULL)
                return path;
        }
    }
    return NULL;
}

/* The file that the loader took. */
static void note_path(void *library, const char *path, char *ret, size_t size)
{
    struct link_map *map = NULL;

    if (dlinfo(library, RTLD_DI_LINKMAP, &map) == 0 && map != NULL && map->l_name[0] != '\0')
        path = map->l_name;
    snprintf(ret, size, "%s", path);
}

static int find_functions(void *library, struct enso__cublaslt_library *l, struct enso_error *err)
{
    const char *missing = NULL;

#define ENSO__CUBLASLT_FIND(returns, name, parameters)                                             \
    *(void **)&l->name = dlsym(library, "cublasLt" #name); /* POSIX's way to write it */           \
    if (l->name == NULL && missing == NULL)                                                        \
        missing = "cublasLt" #name;
    ENSO__CUBLASLT_LIST(ENSO__CUBLASLT_FIND)
#undef ENSO__CUBLASLT_FIND
    if (missing == NULL)
        return ENSO_OK;
    return enso_error_set(err, ENSO_UNAVAILABLE,
                          "'%.300s' lacks %s: it is no cuBLASLt of version 12 or 13", l->path,
                          missing);
}

static int check_version(const struct enso__cublaslt_library *l, struct enso_error *err)
{
    size_t major = l->version / 10000, minor = l->version / 100 % 100;

    if (l->version >= ENSO__CUBLASLT_OLDEST && l->version <= ENSO__CUBLASLT_NEWEST)
        return ENSO_OK;
    return enso_error_set(err, ENSO_UNAVAILABLE,
                          "'%.300s' is cuBLASLt %zu.%zu, too %s: ensod uses versions 12 and 13",
                          l->path, major, minor,
                          l->version < ENSO__CUBLASLT_OLDEST ? "old" : "new");
}

int enso__cublaslt_load(const char *path, struct enso__cublaslt_library *ret,
                        struct enso_error *err)
{
    struct enso__cublaslt_library l = {.version = 0};
    bool named = strchr(path, '/') == NULL;

    if (!named && access(path, F_OK) != 0)
        return enso_error_set(err, ENSO_NOT_FOUND, "there is no file '%.300s'", path);
    /* Kept for good: the library starts threads and registers with the driver. */
    void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == NULL)
        return enso_error_set(err, named ? ENSO_NOT_FOUND : ENSO_UNAVAILABLE,
                              "'%.300s' cannot be loaded: %.300s", path, dlerror());
    note_path(library, path, l.path, sizeof(l.path));
    int st = find_functions(library, &l, err);
    if (st == ENSO_OK) {
        l.version = l.GetVersion();
        st = check_version(&l, err);
    }
    if (st != ENSO_OK) {
        (void)dlclose(library); /* the count of a library that nobody uses */
        return st;
    }
    *ret = l;
    return ENSO_OK;
}
