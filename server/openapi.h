/* SPDX-License-Identifier: Apache-2.0
 *
 * The part of /openapi.json that does not come from the route table: server/openapi.json as a
 * string, made C by the build.
 */
#ifndef ENSO_SERVER_OPENAPI_H
#define ENSO_SERVER_OPENAPI_H

#include <stddef.h>

extern const char enso_openapi_json[]; /* NUL-terminated */
extern const size_t enso_openapi_json_size;

#endif
