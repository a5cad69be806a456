/* A disk that is full from the n-th write on, for scripts/sweep_faults.py.

   Preloaded, it lets every write below a folder fail with ENOSPC from the n-th one on: writes,
   new files and folders, fsync. The count is shared with forked processes. A process arms itself,
   or is started with FULL_DISK_AT, FULL_DISK_IN and FULL_DISK_STATE. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

struct state {
  atomic_long left; /* writes that still succeed */
  atomic_long hits; /* writes that failed */
  char folder[PATH_MAX];
};
static struct state *state;
static int armed; /* in this process and its forks */

void full_disk_arm(long writes, const char *folder) {
  strncpy(state->folder, folder, PATH_MAX - 1);
  atomic_store(&state->hits, 0);
  atomic_store(&state->left, writes - 1);
  armed = 1;
}

long full_disk_hits(void) { return atomic_load(&state->hits); }

__attribute__((constructor)) static void start(void) {
  const char *writes = getenv("FULL_DISK_AT"), *folder = getenv("FULL_DISK_IN");
  const char *file = getenv("FULL_DISK_STATE"); /* whose first number is left, the second hits */
  int fd = file ? open(file, O_RDWR | O_CREAT, 0600) : -1, anonymous = fd < 0 ? MAP_ANONYMOUS : 0;
  if (fd >= 0 && ftruncate(fd, sizeof *state)) abort();
  state = mmap(NULL, sizeof *state, PROT_READ | PROT_WRITE, MAP_SHARED | anonymous, fd, 0);
  if (state == MAP_FAILED) abort();
  if (writes && folder) full_disk_arm(atol(writes), folder);
}

static int fails_at(const char *path) {
  size_t length = strlen(state->folder);
  if (strncmp(path, state->folder, length) || (path[length] && path[length] != '/')) return 0;
  if (atomic_fetch_sub(&state->left, 1) > 0) return 0;
  atomic_fetch_add(&state->hits, 1);
  errno = ENOSPC;
  return 1;
}

static int fails(int fd) {
  char link[64], path[PATH_MAX];
  if (!armed) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0 || path[0] != '/') return 0;
  path[length] = 0;
  return fails_at(path);
}

static int fails_new(int folder, const char *name) {
  char path[PATH_MAX], base[PATH_MAX];
  if (!armed) return 0;
  if (faccessat(folder, name, F_OK, 0) == 0) return 0; /* nothing new */
  if (name[0] == '/') return fails_at(name);
  if (folder != AT_FDCWD) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, base, sizeof base - 1);
    if (length <= 0) return 0;
    base[length] = 0;
  } else if (!getcwd(base, sizeof base)) {
    return 0;
  }
  if (snprintf(path, sizeof path, "%s/%s", base, name) >= (int)sizeof path) return 0;
  return fails_at(path);
}

#define REAL(name) \
  static __typeof__(name) *real; \
  if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define FAILING(type, name, signature, arguments) \
  type name signature { \
    REAL(name); \
    return fails(fd) ? -1 : real arguments; \
  }

FAILING(ssize_t, write, (int fd, const void *data, size_t size), (fd, data, size))
FAILING(ssize_t, pwrite, (int fd, const void *data, size_t size, off_t at), (fd, data, size, at))
FAILING(ssize_t, pwrite64, (int fd, const void *data, size_t size, off64_t at),
        (fd, data, size, at))
FAILING(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count))
FAILING(int, fsync, (int fd), (fd))
FAILING(int, fdatasync, (int fd), (fd))

ssize_t sendfile(int fd, int from, off_t *at, size_t size) {
  static ssize_t (*real)(int, int, off_t *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "sendfile");
  return fails(fd) ? -1 : real(fd, from, at, size);
}

ssize_t sendfile64(int fd, int from, off64_t *at, size_t size) {
  static ssize_t (*real)(int, int, off64_t *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "sendfile64");
  return fails(fd) ? -1 : real(fd, from, at, size);
}

ssize_t copy_file_range(int from, off64_t *at, int fd, off64_t *to, size_t size, unsigned flags) {
  REAL(copy_file_range);
  return fails(fd) ? -1 : real(from, at, fd, to, size, flags);
}

int mkdir(const char *path, mode_t mode) {
  REAL(mkdir);
  return fails_new(AT_FDCWD, path) ? -1 : real(path, mode);
}

#define OPENING(name, signature, folder, arguments) \
  int name signature { \
    REAL(name); \
    mode_t mode = 0; \
    if (flags & (O_CREAT | __O_TMPFILE)) { \
      va_list rest; \
      va_start(rest, flags); \
      mode = va_arg(rest, mode_t); \
      va_end(rest); \
    } \
    return (flags & O_CREAT) && fails_new(folder, path) ? -1 : real arguments; \
  }

OPENING(open, (const char *path, int flags, ...), AT_FDCWD, (path, flags, mode))
OPENING(open64, (const char *path, int flags, ...), AT_FDCWD, (path, flags, mode))
OPENING(openat, (int at, const char *path, int flags, ...), at, (at, path, flags, mode))
OPENING(openat64, (int at, const char *path, int flags, ...), at, (at, path, flags, mode))
