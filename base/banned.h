/* SPDX-License-Identifier: Apache-2.0
 *
 * Functions that are not called here, because each has a safer neighbour. The compiler reads this
 * file before every other (-include, see Makefile.am): a call warns, and fails a build with
 * --enable-werror. Only tests, which know their own strings, are let off (ENSO_ALLOW_BANNED).
 *
 * The declarations repeat the C library's own without including its headers, so that a file which
 * forgets one of those still notices.
 */
#ifndef ENSO_BASE_BANNED_H
#define ENSO_BASE_BANNED_H

#if !defined(ENSO_ALLOW_BANNED) && defined(__GNUC__) && !defined(__cplusplus)
#define ENSO__BANNED(instead) __attribute__((deprecated("not here: " instead)))

/* They write as much as there is, whatever the room. */
char *strcpy(char *, const char *) ENSO__BANNED("use base/buffer.h, snprintf or memcpy");
char *strcat(char *, const char *) ENSO__BANNED("use base/buffer.h or snprintf");
char *strncpy(char *, const char *, __SIZE_TYPE__) ENSO__BANNED("use snprintf, it terminates");
char *strncat(char *, const char *, __SIZE_TYPE__) ENSO__BANNED("use base/buffer.h or snprintf");
int sprintf(char *, const char *, ...) ENSO__BANNED("use base/buffer.h or snprintf");
int vsprintf(char *, const char *, __builtin_va_list) ENSO__BANNED("use vsnprintf");

/* They keep state that all threads share. */
char *strtok(char *, const char *) ENSO__BANNED("use strcspn or strtok_r");
int rand(void) ENSO__BANNED("use getrandom or a generator of your own");

/* They cannot tell a number from rubbish. */
int atoi(const char *) ENSO__BANNED("use base/number.h");
long atol(const char *) ENSO__BANNED("use base/number.h");
long long atoll(const char *) ENSO__BANNED("use base/number.h");
double atof(const char *) ENSO__BANNED("use strtod and look at its end");

/* A name that another may take first. */
char *mktemp(char *) ENSO__BANNED("use mkstemp or mkdtemp");
char *tmpnam(char *) ENSO__BANNED("use mkstemp or mkdtemp");

#undef ENSO__BANNED
#endif

#endif
