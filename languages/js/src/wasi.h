/* Included before each of QuickJS's files. There, `__wasi__` means only that recursion is not limited, since a host may
 * have any stack; here endless recursion shall be an error that a program can catch. So the system's headers, which
 * need it, come first. `__CYGWIN__` stands for it where the size of an allocation is asked for, and nowhere else.
 *
 * QuickJS compares the address of its own frame on the C stack with a limit. Functions that recurse through data, such as
 * JSON's, have next to nothing there and a good deal on the host's stack: what they look at is room that they take. */
#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <fenv.h>
#include <inttypes.h>
#include <limits.h>
#include <malloc.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#undef __wasi__
#define __builtin_frame_address(level) __builtin_alloca(32)
#define __CYGWIN__
