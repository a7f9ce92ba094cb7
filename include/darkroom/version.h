/* version.h - the version of Darkroom. */
#ifndef DARKROOM_VERSION_H
#define DARKROOM_VERSION_H

#ifdef __cplusplus
extern "C" {
#endif

#define DR_VERSION "0.1.0" /* the version of these headers */

/* The version of the library that the program is linked with.  The text is constant.  Any thread may call. */
const char *dr_version(void);

#ifdef __cplusplus
}
#endif

#endif
