/* Preloaded into a program, writes down every change it makes to the files below $DISK_LOG_BELOW, in order, to
 * $DISK_LOG: what it wrote and where, what it synced, and every name it made, moved or removed. ``cut_disk.py`` reads it.
 *
 * One lock around each change and its record, so that within a process the order is true. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MOST_FDS 65536

struct __attribute__((packed)) record {
    char what;
    uint64_t inode;
    int64_t at;
    int64_t time_ns;
    uint32_t first_length, second_length;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned char is_ours[MOST_FDS];
static int log_fd = -1;
static char below[PATH_MAX];
static ssize_t (*real_writev)(int, const struct iovec *, int);

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("DISK_LOG"), *folder = getenv("DISK_LOG_BELOW");
    if (path == NULL || folder == NULL)
        return;
    snprintf(below, sizeof below, "%s", folder);
    real_writev = REAL(writev);
    log_fd = REAL(open)(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

static void tell(char what, uint64_t inode, int64_t at, const void *first, size_t length, const void *second,
                 size_t second_length) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    struct record record = {what, inode, at, now.tv_sec * 1000000000LL + now.tv_nsec, length, second_length};
    struct iovec parts[] = {{&record, sizeof record}, {(void *)first, length}, {(void *)second, second_length}};
    if (real_writev(log_fd, parts, 3) != (ssize_t)(sizeof record + length + second_length))
        abort();
}

/* The absolute path of a name below the watched folder, in ``path``; whether it is below it. */
static int placed(int folder, const char *name, char *path) {
    if (log_fd < 0 || name == NULL)
        return 0;
    if (name[0] == '/') {
        snprintf(path, PATH_MAX, "%s", name);
    } else {
        char link[64], there[PATH_MAX];
        snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
        ssize_t length = readlink(link, there, sizeof there - 1);
        if (length < 0)
            return 0;
        there[length] = 0;
        if (snprintf(path, PATH_MAX, "%s/%s", there, name) >= PATH_MAX)
            return 0;
    }
    size_t length = strlen(below);
    return strncmp(path, below, length) == 0 && (path[length] == '/' || path[length] == 0);
}

static uint64_t inode_of(int fd) {
    struct stat found;
    return fstat(fd, &found) == 0 ? found.st_ino : 0;
}

static int watched(int fd) { return log_fd >= 0 && fd >= 0 && fd < MOST_FDS && is_ours[fd]; }

static int opened(int folder, const char *name, int flags, mode_t mode) {
    char path[PATH_MAX];
    int (*real)(int, const char *, int, ...) = REAL(openat);
    if (!placed(folder, name, path))
        return real(folder, name, flags, mode);
    pthread_mutex_lock(&lock);
    int is_new = (flags & O_CREAT) && faccessat(folder, name, F_OK, 0) != 0;
    int fd = real(folder, name, flags, mode);
    if (fd >= 0 && fd < MOST_FDS) {
        is_ours[fd] = 1;
        if (is_new)
            tell('C', inode_of(fd), 0, path, strlen(path), NULL, 0);
        else if (flags & O_TRUNC)
            tell('T', inode_of(fd), 0, NULL, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return fd;
}

#define MODE(flags) \
    mode_t mode = 0; \
    if ((flags) & (O_CREAT | O_TMPFILE)) { \
        va_list more; \
        va_start(more, flags); \
        mode = va_arg(more, mode_t); \
        va_end(more); \
    }

int open(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }
int open64(const char *name, int flags, ...) { MODE(flags) return opened(AT_FDCWD, name, flags, mode); }
int openat(int folder, const char *name, int flags, ...) { MODE(flags) return opened(folder, name, flags, mode); }
int openat64(int folder, const char *name, int flags, ...) { MODE(flags) return opened(folder, name, flags, mode); }

int close(int fd) {
    if (fd >= 0 && fd < MOST_FDS)
        is_ours[fd] = 0;
    return REAL(close)(fd);
}

ssize_t write(int fd, const void *data, size_t count) {
    if (!watched(fd))
        return REAL(write)(fd, data, count);
    pthread_mutex_lock(&lock);
    ssize_t done = REAL(write)(fd, data, count);
    if (done > 0)
        tell('W', inode_of(fd), lseek(fd, 0, SEEK_CUR) - done, NULL, 0, data, done);
    pthread_mutex_unlock(&lock);
    return done;
}

static ssize_t written_at(int fd, const void *data, size_t count, off_t at) {
    if (!watched(fd))
        return REAL(pwrite64)(fd, data, count, at);
    pthread_mutex_lock(&lock);
    ssize_t done = REAL(pwrite64)(fd, data, count, at);
    if (done > 0)
        tell('W', inode_of(fd), at, NULL, 0, data, done);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t count, off_t at) { return written_at(fd, data, count, at); }
ssize_t pwrite64(int fd, const void *data, size_t count, off64_t at) { return written_at(fd, data, count, at); }

/* So that whoever copies within the kernel falls back to reading and writing. */
ssize_t sendfile(int out, int in, off_t *at, size_t count) {
    if (!watched(out))
        return REAL(sendfile)(out, in, at, count);
    char data[65536];
    ssize_t got = at == NULL ? read(in, data, count < sizeof data ? count : sizeof data)
                             : pread(in, data, count < sizeof data ? count : sizeof data, *at);
    ssize_t done = got > 0 ? write(out, data, got) : got;
    if (at != NULL && done > 0)
        *at += done;
    return done;
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t count) { return sendfile(out, in, at, count); }

static int cut_to(int fd, off_t length) {
    if (!watched(fd))
        return REAL(ftruncate64)(fd, length);
    pthread_mutex_lock(&lock);
    int failed = REAL(ftruncate64)(fd, length);
    if (!failed)
        tell('T', inode_of(fd), length, NULL, 0, NULL, 0);
    pthread_mutex_unlock(&lock);
    return failed;
}

int ftruncate(int fd, off_t length) { return cut_to(fd, length); }
int ftruncate64(int fd, off64_t length) { return cut_to(fd, length); }

static int synced(int fd, int (*real)(int)) {
    if (!watched(fd))
        return real(fd);
    pthread_mutex_lock(&lock);
    int failed = real(fd);
    struct stat found;
    if (!failed && fstat(fd, &found) == 0) {
        char path[PATH_MAX];
        if (S_ISDIR(found.st_mode) && placed(fd, ".", path))
            tell('D', found.st_ino, 0, path, strlen(path) - 2, NULL, 0); /* without the dot */
        else
            tell('S', found.st_ino, 0, NULL, 0, NULL, 0);
    }
    pthread_mutex_unlock(&lock);
    return failed;
}

int fsync(int fd) { return synced(fd, REAL(fsync)); }
int fdatasync(int fd) { return synced(fd, REAL(fdatasync)); }

static int named(char what, int failed, const char *first, const char *second) {
    if (!failed)
        tell(what, 0, 0, first, strlen(first), second, second == NULL ? 0 : strlen(second));
    return failed;
}

#define TWO_NAMES(what, from_folder, from, to_folder, to, call) \
    char first[PATH_MAX], second[PATH_MAX]; \
    int is_from = placed(from_folder, from, first), is_to = placed(to_folder, to, second); \
    if (!is_from && !is_to) \
        return call; \
    if (!is_from || !is_to) \
        abort(); /* nothing of ours leaves the folder, or comes into it */ \
    pthread_mutex_lock(&lock); \
    int failed = named(what, call, first, second); \
    pthread_mutex_unlock(&lock); \
    return failed;

#define ONE_NAME(what, folder, name, call) \
    char path[PATH_MAX]; \
    if (!placed(folder, name, path)) \
        return call; \
    pthread_mutex_lock(&lock); \
    int failed = named(what, call, path, NULL); \
    pthread_mutex_unlock(&lock); \
    return failed;

int rename(const char *from, const char *to) {
    TWO_NAMES('R', AT_FDCWD, from, AT_FDCWD, to, REAL(rename)(from, to))
}
int renameat(int there, const char *from, int here, const char *to) {
    TWO_NAMES('R', there, from, here, to, REAL(renameat)(there, from, here, to))
}
int link(const char *from, const char *to) { TWO_NAMES('L', AT_FDCWD, from, AT_FDCWD, to, REAL(link)(from, to)) }
int linkat(int there, const char *from, int here, const char *to, int flags) {
    TWO_NAMES('L', there, from, here, to, REAL(linkat)(there, from, here, to, flags))
}
int unlink(const char *name) { ONE_NAME('U', AT_FDCWD, name, REAL(unlink)(name)) }
int rmdir(const char *name) { ONE_NAME('X', AT_FDCWD, name, REAL(rmdir)(name)) }
int unlinkat(int folder, const char *name, int flags) {
    ONE_NAME(flags & AT_REMOVEDIR ? 'X' : 'U', folder, name, REAL(unlinkat)(folder, name, flags))
}
int mkdir(const char *name, mode_t mode) { ONE_NAME('M', AT_FDCWD, name, REAL(mkdir)(name, mode)) }
int mkdirat(int folder, const char *name, mode_t mode) { ONE_NAME('M', folder, name, REAL(mkdirat)(folder, name, mode)) }
