/* Between a program and the C library, for files below one folder: it writes down every operation that changes them,
   with its bytes, and lets the N-th fail. Loaded with LD_PRELOAD; disk.py compiles it and reads its trace. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct state {
    int64_t count;  /* operations so far */
    int64_t fail;   /* the one that fails, counted from 1; 0: none */
    int32_t error;  /* its errno */
    int32_t sticky; /* all after it fail too */
    int32_t trace;  /* descriptor; -1: none */
    char root[PATH_MAX];
};
struct record { /* followed by the two paths and the bytes */
    int64_t inode, offset, bytes;
    uint16_t first, second;
    char kind, pad[3];
};

static struct state *now;
static pthread_mutex_t order = PTHREAD_MUTEX_INITIALIZER;

struct state *chaos_state(void) { return now; }

__attribute__((constructor)) static void begin(void) {
    const char *root = getenv("CHAOS_ROOT"), *fail = getenv("CHAOS_FAIL"), *trace = getenv("CHAOS_TRACE");
    now = mmap(NULL, sizeof *now, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    now->trace = -1;
    if (trace) now->trace = open(trace, O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (root) strncpy(now->root, root, PATH_MAX - 1);
    if (fail) sscanf(fail, "%ld:%d:%d", &now->fail, &now->error, &now->sticky);
}

#define REAL(type, name, ...)                        \
    static type (*real)(__VA_ARGS__);                \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

/* The absolute path of `path` as seen from the folder `at`; "" if it is not below the root. */
static const char *below(int at, const char *path, char *out) {
    out[0] = 0;
    if (!now || !now->root[0] || !path) return out;
    size_t length = strlen(now->root);
    if (path[0] == '/') {
        snprintf(out, PATH_MAX, "%s", path);
    } else {
        char link[64], folder[PATH_MAX];
        if (at == AT_FDCWD) {
            if (!getcwd(folder, PATH_MAX)) return out;
        } else {
            snprintf(link, sizeof link, "/proc/self/fd/%d", at);
            ssize_t got = readlink(link, folder, PATH_MAX - 1);
            if (got < 0) return out;
            folder[got] = 0;
        }
        snprintf(out, PATH_MAX, "%.2000s/%.2000s", folder, path);
    }
    if (strncmp(out, now->root, length) || (out[length] != '/' && out[length])) out[0] = 0;
    return out;
}

static const char *file(int descriptor, char *out) {
    char link[64], path[PATH_MAX];
    out[0] = 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t got = readlink(link, path, PATH_MAX - 1);
    if (got <= 0 || path[0] != '/') return out; /* a pipe */
    path[got] = 0;
    return below(AT_FDCWD, path, out);
}

/* Whether this operation fails; else the order is held until `done`. */
static int fails(void) {
    pthread_mutex_lock(&order);
    int64_t number = ++now->count;
    if (now->fail && (number == now->fail || (now->sticky && number > now->fail))) {
        pthread_mutex_unlock(&order);
        errno = now->error;
        return 1;
    }
    return 0;
}

static void done(int well, char kind, int64_t inode, int64_t offset, const char *first, const char *second,
                 const struct iovec *parts, int count, int64_t bytes) {
    int saved = errno;
    if (well && now->trace >= 0) {
        struct record r = {inode, offset, bytes, (uint16_t)strlen(first), (uint16_t)strlen(second), kind, {0}};
        REAL(ssize_t, write, int, const void *, size_t);
        real(now->trace, &r, sizeof r);
        real(now->trace, first, r.first);
        real(now->trace, second, r.second);
        for (int n = 0; n < count && bytes > 0; n++) {
            size_t part = parts[n].iov_len < (size_t)bytes ? parts[n].iov_len : (size_t)bytes;
            real(now->trace, parts[n].iov_base, part);
            bytes -= part;
        }
    }
    pthread_mutex_unlock(&order);
    errno = saved;
}

static int64_t inode_of(int descriptor) {
    struct stat s;
    return fstat(descriptor, &s) ? -1 : (int64_t)s.st_ino;
}

static int64_t inode_at(const char *path) {
    struct stat s;
    return lstat(path, &s) ? -1 : (int64_t)s.st_ino;
}

static int64_t place_of(int descriptor) {
    struct stat s;
    if (fcntl(descriptor, F_GETFL) & O_APPEND) return fstat(descriptor, &s) ? 0 : s.st_size;
    return lseek(descriptor, 0, SEEK_CUR);
}

#define WRITE(type, name, place, parts, count, call, ...)                              \
    type name(__VA_ARGS__) {                                                           \
        REAL(type, name, __VA_ARGS__);                                                 \
        char path[PATH_MAX];                                                           \
        if (!*file(fd, path)) return call;                                   \
        if (fails()) return -1;                                                        \
        int64_t at = place;                                                            \
        type got = call;                                                               \
        done(got > 0, 'w', inode_of(fd), at, path, "", parts, count, got);             \
        return got;                                                                    \
    }
WRITE(ssize_t, write, place_of(fd), (&(struct iovec){(void *)data, size}), 1, real(fd, data, size), int fd, const void *data, size_t size)
WRITE(ssize_t, pwrite, at_, (&(struct iovec){(void *)data, size}), 1, real(fd, data, size, at_), int fd, const void *data, size_t size, off_t at_)
WRITE(ssize_t, pwrite64, at_, (&(struct iovec){(void *)data, size}), 1, real(fd, data, size, at_), int fd, const void *data, size_t size, off_t at_)
WRITE(ssize_t, writev, place_of(fd), parts, count, real(fd, parts, count), int fd, const struct iovec *parts, int count)
WRITE(ssize_t, pwritev, at_, parts, count, real(fd, parts, count, at_), int fd, const struct iovec *parts, int count, off_t at_)

#define ON_FILE(name, kind, offset, call, ...)                                         \
    int name(__VA_ARGS__) {                                                            \
        REAL(int, name, __VA_ARGS__);                                                  \
        char path[PATH_MAX];                                                           \
        if (!*file(fd, path)) return call;                                   \
        if (fails()) return -1;                                                        \
        int got = call;                                                                \
        done(!got, kind, inode_of(fd), offset, path, "", NULL, 0, 0);                  \
        return got;                                                                    \
    }
ON_FILE(fsync, 's', 0, real(fd), int fd)
ON_FILE(fdatasync, 's', 0, real(fd), int fd)
ON_FILE(ftruncate, 't', size, real(fd, size), int fd, off_t size)
ON_FILE(ftruncate64, 't', size, real(fd, size), int fd, off_t size)

void sync(void) {
    REAL(void, sync, void);
    if (!now || !now->root[0]) return real();
    pthread_mutex_lock(&order);
    real();
    done(1, 'S', 0, 0, "", "", NULL, 0, 0);
}

/* Names: `inode` is that of the second path, or of the first. */
#define ON_NAMES(name, kind, from_at, from, to_at, to, call, ...)                      \
    int name(__VA_ARGS__) {                                                            \
        REAL(int, name, __VA_ARGS__);                                                  \
        char first[PATH_MAX], second[PATH_MAX];                                        \
        below(from_at, from, first);                                                   \
        below(to_at, to, second);                                                      \
        if (!(*first || *second)) return call;                               \
        if (fails()) return -1;                                                        \
        int64_t before = inode_at(first);                                              \
        int got = call;                                                                \
        done(!got, kind, before >= 0 ? before : inode_at(first), 0, first, second, NULL, 0, 0); \
        return got;                                                                    \
    }
#define HERE AT_FDCWD
ON_NAMES(rename, 'r', HERE, a, HERE, b, real(a, b), const char *a, const char *b)
ON_NAMES(renameat, 'r', x, a, y, b, real(x, a, y, b), int x, const char *a, int y, const char *b)
ON_NAMES(renameat2, 'r', x, a, y, b, real(x, a, y, b, f), int x, const char *a, int y, const char *b, unsigned f)
ON_NAMES(link, 'l', HERE, a, HERE, b, real(a, b), const char *a, const char *b)
ON_NAMES(linkat, 'l', x, a, y, b, real(x, a, y, b, f), int x, const char *a, int y, const char *b, int f)
ON_NAMES(unlink, 'u', HERE, a, HERE, NULL, real(a), const char *a)
ON_NAMES(unlinkat, 'u', x, a, HERE, NULL, real(x, a, f), int x, const char *a, int f)
ON_NAMES(rmdir, 'u', HERE, a, HERE, NULL, real(a), const char *a)
ON_NAMES(mkdir, 'm', HERE, a, HERE, NULL, real(a, mode), const char *a, mode_t mode)
ON_NAMES(mkdirat, 'm', x, a, HERE, NULL, real(x, a, mode), int x, const char *a, mode_t mode)

#define OPEN(name, at, call, ...)                                                      \
    int name(__VA_ARGS__, ...) {                                                       \
        va_list more;                                                                  \
        va_start(more, flags);                                                         \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;        \
        va_end(more);                                                                  \
        static int (*real)(__VA_ARGS__, ...);                                          \
        if (!real) real = (int (*)(__VA_ARGS__, ...))dlsym(RTLD_NEXT, #name);          \
        char full[PATH_MAX];                                                           \
        if ((flags & O_ACCMODE) == O_RDONLY || !*below(at, path, full)) return call; \
        if (fails()) return -1;                                                        \
        int made = (flags & O_CREAT) && inode_at(full) < 0;                            \
        int got = call;                                                                \
        int cut = got >= 0 && (flags & O_TRUNC) && !made;                              \
        done(got >= 0 && (made || cut), made ? 'c' : 't', got >= 0 ? inode_of(got) : -1, 0, full, "", NULL, 0, 0); \
        return got;                                                                    \
    }
OPEN(open, AT_FDCWD, real(path, flags, mode), const char *path, int flags)
OPEN(open64, AT_FDCWD, real(path, flags, mode), const char *path, int flags)
OPEN(openat, at, real(at, path, flags, mode), int at, const char *path, int flags)
OPEN(openat64, at, real(at, path, flags, mode), int at, const char *path, int flags)
