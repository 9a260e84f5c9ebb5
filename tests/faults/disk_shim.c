/* Preloaded into a process, it makes a disk fail or slow: `SHIM_FILE` names a file with a line for each fault,

       CALL ERRNO MILLISECONDS PART

   read anew at each call. CALL is `sync` (fsync, fdatasync) or `write` (write, pwrite), ERRNO what it fails with,
   0 if it only takes long; it concerns files whose path contains PART. A sync that fails has written what it was to. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static int trouble(const char *call, int fd) {
    const char *name = getenv("SHIM_FILE");
    char link[64], path[4096], found[16], part[256];
    int error, wait_ms, result = 0;
    if (name == NULL) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    if (path[0] != '/' || strcmp(path, name) == 0) return 0;
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
