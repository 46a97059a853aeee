dnl ENSO_NEED(VARIABLE, MODULES, DEBIAN-PACKAGE): a library by pkg-config; all that are missing are
dnl reported together by ENSO_FINISH_NEEDS.
AC_DEFUN([ENSO_NEED], [PKG_CHECK_MODULES([$1], [$2], [], [ENSO_MISSING([$2], [$3])])])

dnl ENSO_MISSING(WHAT, DEBIAN-PACKAGE)
AC_DEFUN([ENSO_MISSING], [
    AC_MSG_WARN([$1 is missing: apt-get install $2])
    enso_missing="$enso_missing $2"])

dnl ENSO_FINISH_NEEDS: stop, naming every missing package in one command.
AC_DEFUN([ENSO_FINISH_NEEDS], [
    AS_IF([test -n "$enso_missing"],
        [AC_MSG_ERROR([libraries are missing; on Debian: apt-get install$enso_missing])])])

dnl ENSO_WARNINGS(FLAGS): add to WARNING_CFLAGS those that the compiler knows.
AC_DEFUN([ENSO_WARNINGS], [
    for flag in m4_normalize([$1]); do
        AC_MSG_CHECKING([whether $CC knows $flag])
        save_CFLAGS=$CFLAGS
        CFLAGS="$CFLAGS -Werror $flag"
        AC_COMPILE_IFELSE([AC_LANG_PROGRAM([], [])],
            [AC_MSG_RESULT([yes]); WARNING_CFLAGS="$WARNING_CFLAGS $flag"],
            [AC_MSG_RESULT([no])])
        CFLAGS=$save_CFLAGS
    done])
