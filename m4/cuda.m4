dnl ENSO_CUDA: --with-cuda and --with-cuda-arch. Sets NVCC, CUDA_INCLUDE, CUDA_CODE (nvcc's
dnl -gencode options), CUDA_MESSAGE for the summary, and the conditional HAVE_CUDA.
dnl Code is made for every architecture of the list; besides, PTX of 80 (or of the first, when 80 is
dnl not listed) and of the last, from which a driver makes code for cards that come later.
AC_DEFUN([ENSO_CUDA], [
    AC_ARG_WITH([cuda], [AS_HELP_STRING([--with-cuda=auto|yes|no],
        [build the GPU module (default auto: when nvcc 12.8 or later is found)])], [], [with_cuda=auto])
    AC_ARG_WITH([cuda-arch], [AS_HELP_STRING([--with-cuda-arch=LIST],
        [architectures of the GPU module (default 75,80,86,89,90,100,120), or native: the card of this machine])],
        [], [with_cuda_arch=75,80,86,89,90,100,120])
    have_cuda=no
    CUDA_MESSAGE=no
    AS_CASE([$with_cuda], [auto|yes|no], [],
        [AC_MSG_ERROR([--with-cuda=$with_cuda: write auto, yes or no])])
    AS_IF([test "$with_cuda" != no], [
        AC_PATH_PROG([NVCC], [nvcc], [], [$PATH:/usr/local/cuda/bin])
        AS_IF([test -z "$NVCC"],
            [CUDA_MESSAGE="no (nvcc was not found)"
             cuda_trouble="nvcc was not found; install the CUDA toolkit or put nvcc on PATH"],
            [ENSO_CUDA_CHECK])
        AS_IF([test "$have_cuda" = yes], [ENSO_CUDA_TRY])
        AS_IF([test "$with_cuda" = yes && test "$have_cuda" = no],
            [AC_MSG_ERROR([--with-cuda=yes: $cuda_trouble])])])
    AS_IF([test "$have_cuda" = yes], [ENSO_CUDA_CODE])
    AC_SUBST([CUDA_INCLUDE])
    AC_SUBST([CUDA_CODE])
    AM_CONDITIONAL([HAVE_CUDA], [test "$have_cuda" = yes])])

dnl Is this nvcc new enough, and where are its headers?
AC_DEFUN([ENSO_CUDA_CHECK], [
    AC_MSG_CHECKING([the version of $NVCC])
    cuda_version=$("$NVCC" --version 2>/dev/null | $SED -n 's/.*release \(@<:@0-9@:>@*\.@<:@0-9@:>@*\).*/\1/p')
    AC_MSG_RESULT([${cuda_version:-unknown}])
    cuda_number=$(echo "${cuda_version:-0.0}" | $SED 's/\.\(@<:@0-9@:>@\)$/0\1/; s/\.//')
    cuda_root=$(dirname "$(dirname "$(readlink -f "$NVCC")")")
    for CUDA_INCLUDE in "$cuda_root/include" "$cuda_root/targets/x86_64-linux/include" \
            "$cuda_root/targets/sbsa-linux/include" /usr/include; do
        AS_IF([test -f "$CUDA_INCLUDE/cuda_runtime_api.h"], [break])
    done
    AS_IF([test "$cuda_number" -lt 1208],
        [CUDA_MESSAGE="no (nvcc ${cuda_version:-of an unknown version} is older than 12.8)"
         cuda_trouble="$NVCC is of version ${cuda_version:-unknown}; install CUDA 12.8 or later"],
        [test ! -f "$CUDA_INCLUDE/cuda_runtime_api.h"],
        [CUDA_MESSAGE="no (nvcc without cuda_runtime_api.h)"
         cuda_trouble="cuda_runtime_api.h was not found beside $NVCC; install the CUDA runtime's headers (cuda-cudart-dev)"],
        [have_cuda=yes])])

dnl Has it a C++ compiler beside it that it accepts, and, for native, a card that it knows?
AC_DEFUN([ENSO_CUDA_TRY], [
    AC_MSG_CHECKING([whether $NVCC compiles])
    AS_IF([test "$with_cuda_arch" = native], [cuda_try="-arch=native"], [cuda_try=])
    echo '__global__ void k(int *x) { *x = 1; }' >conftest.cu
    AS_IF(["$NVCC" -std=c++17 -Werror all-warnings $cuda_try -c conftest.cu -o conftest.cu.o >conftest.nvcc 2>&1],
        [AC_MSG_RESULT([yes])],
        [AC_MSG_RESULT([no])
         cat conftest.nvcc >&AS_MESSAGE_LOG_FD
         have_cuda=no
         CUDA_MESSAGE="no (nvcc does not compile; config.log says why)"
         cuda_trouble="$NVCC does not compile: $(grep . conftest.nvcc | head -n 1)"])
    rm -f conftest.cu conftest.cu.o conftest.nvcc])

AC_DEFUN([ENSO_CUDA_CODE], [
    CUDA_CODE=
    cuda_last=
    cuda_ptx=
    AS_IF([test "$with_cuda_arch" = native], [CUDA_CODE="-arch=native"], [
        for arch in $(echo "$with_cuda_arch" | tr ',' ' '); do
            AS_CASE([$arch], [*@<:@!0-9@:>@*|?|""],
                [AC_MSG_ERROR([--with-cuda-arch: '$arch' is no architecture; write for example 80,90, or native])])
            AS_IF(["$NVCC" --list-gpu-code | grep -qx "sm_$arch"], [],
                [AC_MSG_ERROR([--with-cuda-arch: $NVCC ($cuda_version) cannot make code for sm_$arch, but for $("$NVCC" --list-gpu-code | tr '\n' ' ')])])
            CUDA_CODE="$CUDA_CODE -gencode arch=compute_$arch,code=sm_$arch"
            AS_IF([test -z "$cuda_ptx" || test "$arch" = 80], [cuda_ptx=$arch])
            cuda_last=$arch
        done
        AS_IF([test -z "$cuda_last"], [AC_MSG_ERROR([--with-cuda-arch names no architecture])])
        CUDA_CODE="$CUDA_CODE -gencode arch=compute_$cuda_ptx,code=compute_$cuda_ptx"
        AS_IF([test "$cuda_last" != "$cuda_ptx"],
            [CUDA_CODE="$CUDA_CODE -gencode arch=compute_$cuda_last,code=compute_$cuda_last"])])
    CUDA_MESSAGE="module for $with_cuda_arch, nvcc $cuda_version"])
