/* Preloaded into a process, it makes a disk fail or slow: `SHIM_FILE` names a file with a line for each fault,

       CALL ERRNO MILLISECONDS PART

   read anew at each call. CALL is `sync` (fsync, fdatasync), `write` (write, pwrite), `open` (to write), `mkdir` or
   `rename` (to the path), ERRNO what it fails with, 0 if it only takes long; it concerns files whose path, as the
   program says it when it names it, contains PART. A sync that fails has written what it was to. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static int trouble_at(const char *call, const char *path) {
    const char *name = getenv("SHIM_FILE");
    char found[16], part[256];
    int error, wait_ms, result = 0;
    if (name == NULL || strcmp(path, name) == 0) return 0;
    FILE *faults = fopen(name, "re");
    if (faults == NULL) return 0;
    while (fscanf(faults, "%15s %d %d %255s", found, &error, &wait_ms, part) == 4) {
        if (strcmp(found, call) != 0 || strstr(path, part) == NULL) continue;
        struct timespec pause = {wait_ms / 1000, (wait_ms % 1000) * 1000000L};
        nanosleep(&pause, NULL);
        result = error;
    }
    fclose(faults);
    return result;
}

static int trouble(const char *call, int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return path[0] == '/' ? trouble_at(call, path) : 0;
}

#define REAL(type, name) static type (*real)(); if (real == NULL) real = (type (*)())dlsym(RTLD_NEXT, name)
#define SYNC(name)                                                    \
    int name(int fd) {                                                \
        REAL(int, #name);                                             \
        int error = trouble("sync", fd);                              \
        if (error) { errno = error; return -1; }                      \
        return real(fd);                                              \
    }
SYNC(fsync)
SYNC(fdatasync)

ssize_t write(int fd, const void *from, size_t size) {
    REAL(ssize_t, "write");
    int error = trouble("write", fd);
    if (error) { errno = error; return -1; }
    return real(fd, from, size);
}

#define PWRITE(name)                                                  \
    ssize_t name(int fd, const void *from, size_t size, off_t at) {   \
        REAL(ssize_t, #name);                                         \
        int error = trouble("write", fd);                             \
        if (error) { errno = error; return -1; }                      \
        return real(fd, from, size, at);                              \
    }
PWRITE(pwrite)
PWRITE(pwrite64)

#define OPEN(name)                                                    \
    int name(const char *path, int flags, ...) {                      \
        REAL(int, #name);                                             \
        va_list more;                                                 \
        va_start(more, flags);                                        \
        mode_t mode = flags & O_CREAT ? va_arg(more, mode_t) : 0;     \
        va_end(more);                                                 \
        int is_written = flags & (O_WRONLY | O_RDWR | O_CREAT);       \
        int error = is_written ? trouble_at("open", path) : 0;        \
        if (error) { errno = error; return -1; }                      \
        return real(path, flags, mode);                               \
    }
OPEN(open)
OPEN(open64)

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir");
    int error = trouble_at("mkdir", path);
    if (error) { errno = error; return -1; }
    return real(path, mode);
}

int rename(const char *from, const char *to) {
    REAL(int, "rename");
    int error = trouble_at("rename", to);
    if (error) { errno = error; return -1; }
    return real(from, to);
}
