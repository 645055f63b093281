/* Counts the calls by which a daemon changes the world, and makes one of them fatal.
 *
 * Preloaded into a Python program (LD_PRELOAD). What it does is read at every call from a
 * control block, a file that the test maps, too: `tests/lab/faults.py` explains the fields.
 * It counts in all threads and in child processes that are Python; services are left alone.
 * A child may have changed its root, and given up every right: its paths are told as the
 * daemon sees them, and the daemon does to itself what the child has come to.
 * A kill comes before the call, so that the point after the last call is a run of its own.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { OPEN = 1, WRITE = 2, RENAME = 4, LINK = 8, UNLINK = 16, SYNC = 32, MKDIR = 64,
       SYMLINK = 128, KILL = 256, SPAWN = 512, SEND = 1024, TRUNCATE = 2048 };
enum { COUNT_ONLY = 0, DIE = 1, FAIL = 2, POWER_CUT = 3 };
enum { NAME = 12, PATH = 116, MOST = 8192 };

struct control {
    uint32_t classes, at, action, error;
    uint32_t no_sync, torn_links, sticky, pid;
    uint32_t count, hit, asked;
    char root[242];
    struct { char name[NAME]; char path[PATH]; } seen[MOST];
};

#define EXT4_SHUTDOWN 0x8004587dUL
#define WITHOUT_FLUSHING 2

static struct control *block;

/* Where this process's root lies, "" for the machine's; and its /proc/self/fd, from before. */
static char inside[PATH_MAX];
static int descriptors = -1;

#define REAL(name) ({ static __typeof__(&name) real; \
    if (!real) { real = (__typeof__(&name))dlsym(RTLD_NEXT, #name); } \
    real; })

static void use(const char *file) {
    int fd = file ? REAL(open64)(file, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0) return;
    void *at = mmap(NULL, sizeof *block, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED) block = at;
    close(fd);
}

static void *wait_to_be_struck(void *);

/* Use the control block in this file; this process is the one that dies at the point. */
void faults_of_this_process(const char *file) {
    pthread_t waiting;
    sigset_t all, before;
    use(file);
    if (!block) return;
    block->asked = 0;
    block->pid = (uint32_t)getpid();
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    if (pthread_create(&waiting, NULL, wait_to_be_struck, NULL) != 0) abort();
    pthread_sigmask(SIG_SETMASK, &before, NULL);
}

__attribute__((constructor)) static void begin(void) {
    if (strncmp(program_invocation_short_name, "python", 6) == 0
        || strncmp(program_invocation_short_name, "ferryman", 8) == 0)
        use(getenv("FERRYMAN_FAULTS"));
}

static int below_root(const char *path) {
    size_t length = strlen(block->root);
    return strncmp(path, block->root, length) == 0;
}

/* The path of an open descriptor, as the machine sees it; 0 if there is none. */
static int path_of(int fd, char *out) {
    char name[32], path[PATH_MAX];
    snprintf(name, sizeof name, descriptors < 0 ? "/proc/self/fd/%d" : "%d", fd);
    ssize_t got = readlinkat(descriptors < 0 ? AT_FDCWD : descriptors, name, path, sizeof path - 1);
    if (got <= 0) return 0;
    path[got] = 0;
    snprintf(out, PATH_MAX, "%.2000s%.2000s", inside, path);
    return 1;
}

/* The absolute path of (folder, name) as far as it can be told without following links. */
static void absolute(int folder, const char *name, char *out) {
    char base[PATH_MAX] = "", at[PATH_MAX];
    if (name[0] == '/') snprintf(out, PATH_MAX, "%.2000s%.2000s", inside, name);
    else {
        if (folder != AT_FDCWD) path_of(folder, base);
        else if (getcwd(at, sizeof at)) snprintf(base, sizeof base, "%.1000s%.2000s", inside, at);
        snprintf(out, PATH_MAX, "%.2000s/%.2000s", base, name);
    }
}

/* Only "." is the root that anybody takes here. */
int chroot(const char *path) {
    char at[PATH_MAX];
    int before = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int known = getcwd(at, sizeof at) != NULL;
    int result = REAL(chroot)(path);
    if (result == 0 && known) {
        strcpy(inside, at);
        descriptors = before;
    } else if (before >= 0) close(before);
    return result;
}

static void cut_power(void) {
    uint32_t how = WITHOUT_FLUSHING;
    int fd = REAL(open64)(block->root, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || ioctl(fd, EXT4_SHUTDOWN, &how) != 0) abort();
}

static void die(void) {
    if (block->action == POWER_CUT) cut_power();
    REAL(kill)(getpid(), SIGKILL);
}

/* In the daemon: a thread that dies for those of its children that can't kill it. */
static void *wait_to_be_struck(void *nothing) {
    while (!__atomic_load_n(&block->asked, __ATOMIC_SEQ_CST))
        REAL(syscall)(SYS_futex, &block->asked, FUTEX_WAIT, 0, NULL, NULL, 0);
    die();
    return nothing;
}

/* In a child: have the daemon struck, and see that it is gone before anything else is done. */
static void have_it_struck(void) {
    __atomic_store_n(&block->asked, 1, __ATOMIC_SEQ_CST);
    REAL(syscall)(SYS_futex, &block->asked, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    for (int looked = 0; REAL(kill)((pid_t)block->pid, 0) == 0 || errno != ESRCH; looked++) {
        if (looked == 20000) abort();
        usleep(500);
    }
}

static void strike(uint32_t class) {
    if (!block->pid || (pid_t)block->pid == getpid()) die();
    have_it_struck();
    if (class != SPAWN) REAL(kill)(getpid(), SIGKILL);
}

/* Take note of a call; returns 1 if it must fail with errno set. */
static int point(uint32_t class, const char *name, const char *path) {
    if (!block || !(block->classes & class)) return 0;
    if (class != KILL && class != SPAWN && class != SEND && !below_root(path)) return 0;
    int before = errno;
    uint32_t number = __atomic_add_fetch(&block->count, 1, __ATOMIC_SEQ_CST);
    if (number <= MOST) {
        snprintf(block->seen[number - 1].name, NAME, "%s", name);
        size_t length = strlen(path);
        const char *tail = length < PATH ? path : path + length - (PATH - 1);
        snprintf(block->seen[number - 1].path, PATH, "%s", tail);
    }
    errno = before;
    if (!block->at || (block->sticky ? number < block->at : number != block->at)) return 0;
    block->hit = number;
    switch (block->action) {
    case POWER_CUT:
    case DIE: strike(class); return 0;
    case FAIL: errno = (int)block->error; return 1;
    default: return 0;
    }
}

static int point_at(uint32_t class, const char *call, int folder, const char *name) {
    char path[PATH_MAX];
    if (!block || !(block->classes & class)) return 0;
    absolute(folder, name, path);
    return point(class, call, path);
}

/* Only regular files and folders count: a pipe or a socket is not the disk. */
static int point_fd(uint32_t class, const char *call, int fd) {
    struct stat what;
    char path[PATH_MAX];
    if (!block || !(block->classes & (class | SEND)) || fstat(fd, &what) != 0) return 0;
    if (S_ISSOCK(what.st_mode)) return class == WRITE ? point(SEND, call, "") : 0;
    if (!S_ISREG(what.st_mode) && !S_ISDIR(what.st_mode)) return 0;
    if (!(block->classes & class) || !path_of(fd, path)) return 0;
    return point(class, call, path);
}

static int opens_for_change(int flags) {
    return (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
}

#define MODE(flags) ({ mode_t m = 0; if ((flags) & (O_CREAT | O_TMPFILE)) { va_list more; \
    va_start(more, flags); m = va_arg(more, mode_t); va_end(more); } m; })

int open(const char *path, int flags, ...) {
    mode_t mode = MODE(flags);
    if (opens_for_change(flags) && point_at(OPEN, "open", AT_FDCWD, path)) return -1;
    return REAL(open)(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    mode_t mode = MODE(flags);
    if (opens_for_change(flags) && point_at(OPEN, "open", AT_FDCWD, path)) return -1;
    return REAL(open64)(path, flags, mode);
}
int openat(int folder, const char *path, int flags, ...) {
    mode_t mode = MODE(flags);
    if (opens_for_change(flags) && point_at(OPEN, "open", folder, path)) return -1;
    return REAL(openat)(folder, path, flags, mode);
}
int openat64(int folder, const char *path, int flags, ...) {
    mode_t mode = MODE(flags);
    if (opens_for_change(flags) && point_at(OPEN, "open", folder, path)) return -1;
    return REAL(openat64)(folder, path, flags, mode);
}

ssize_t write(int fd, const void *data, size_t size) {
    if (point_fd(WRITE, "write", fd)) return -1;
    return REAL(write)(fd, data, size);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    if (point_fd(WRITE, "write", fd)) return -1;
    return REAL(writev)(fd, parts, count);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) {
    if (point_fd(WRITE, "write", fd)) return -1;
    return REAL(pwrite)(fd, data, size, at);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    if (point_fd(WRITE, "write", fd)) return -1;
    return REAL(pwrite64)(fd, data, size, at);
}
ssize_t send(int fd, const void *data, size_t size, int flags) {
    if (point(SEND, "send", "")) return -1;
    return REAL(send)(fd, data, size, flags);
}
ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    if (point(SEND, "send", "")) return -1;
    return REAL(sendmsg)(fd, message, flags);
}

int fsync(int fd) {
    if (point_fd(SYNC, "fsync", fd)) return -1;
    return block && block->no_sync ? 0 : REAL(fsync)(fd);
}
int fdatasync(int fd) {
    if (point_fd(SYNC, "fsync", fd)) return -1;
    return block && block->no_sync ? 0 : REAL(fdatasync)(fd);
}
int ftruncate64(int fd, off64_t size) {
    if (point_fd(TRUNCATE, "truncate", fd)) return -1;
    return REAL(ftruncate64)(fd, size);
}

/* The control that must fail: a link that is replaced in two steps, while the disk commits
 * between them, as it may at any time. */
static int tear(int folder, const char *to) {
    struct stat there;
    int disk;
    if (!block || !block->torn_links) return 0;
    if (fstatat(folder, to, &there, AT_SYMLINK_NOFOLLOW) != 0 || !S_ISLNK(there.st_mode)) return 0;
    REAL(unlinkat)(folder, to, 0);
    if ((disk = REAL(open64)(block->root, O_RDONLY | O_CLOEXEC)) >= 0) {
        syncfs(disk);
        close(disk);
    }
    return point_at(RENAME, "torn", folder, to);
}

int rename(const char *from, const char *to) {
    if (point_at(RENAME, "rename", AT_FDCWD, to) || tear(AT_FDCWD, to)) return -1;
    return REAL(rename)(from, to);
}
int renameat(int from_folder, const char *from, int folder, const char *to) {
    if (point_at(RENAME, "rename", folder, to) || tear(folder, to)) return -1;
    return REAL(renameat)(from_folder, from, folder, to);
}
int link(const char *from, const char *to) {
    if (point_at(LINK, "link", AT_FDCWD, to)) return -1;
    return REAL(link)(from, to);
}
int linkat(int from_folder, const char *from, int folder, const char *to, int flags) {
    if (point_at(LINK, "link", folder, to)) return -1;
    return REAL(linkat)(from_folder, from, folder, to, flags);
}
int unlink(const char *path) {
    if (point_at(UNLINK, "unlink", AT_FDCWD, path)) return -1;
    return REAL(unlink)(path);
}
int unlinkat(int folder, const char *path, int flags) {
    if (point_at(UNLINK, "unlink", folder, path)) return -1;
    return REAL(unlinkat)(folder, path, flags);
}
int rmdir(const char *path) {
    if (point_at(UNLINK, "rmdir", AT_FDCWD, path)) return -1;
    return REAL(rmdir)(path);
}
int mkdir(const char *path, mode_t mode) {
    if (point_at(MKDIR, "mkdir", AT_FDCWD, path)) return -1;
    return REAL(mkdir)(path, mode);
}
int mkdirat(int folder, const char *path, mode_t mode) {
    if (point_at(MKDIR, "mkdir", folder, path)) return -1;
    return REAL(mkdirat)(folder, path, mode);
}
int symlink(const char *target, const char *path) {
    if (point_at(SYMLINK, "symlink", AT_FDCWD, path)) return -1;
    return REAL(symlink)(target, path);
}
int symlinkat(const char *target, int folder, const char *path) {
    if (point_at(SYMLINK, "symlink", folder, path)) return -1;
    return REAL(symlinkat)(target, folder, path);
}

int kill(pid_t pid, int number) {
    if (number && point(KILL, "kill", "")) return -1;
    return REAL(kill)(pid, number);
}
/* How Python sends a signal by a pidfd. */
long syscall(long number, ...) {
    long a[6];
    va_list more;
    va_start(more, number);
    for (int i = 0; i < 6; i++) a[i] = va_arg(more, long);
    va_end(more);
    if (number == SYS_pidfd_send_signal && a[1] && point(KILL, "kill", "")) return -1;
    return REAL(syscall)(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
/* In a child of vfork: the agent dies here, and the service comes up all the same. */
int execve(const char *program, char *const argv[], char *const environment[]) {
    if (point(SPAWN, "spawn", program)) return -1;
    return REAL(execve)(program, argv, environment);
}
int execv(const char *program, char *const argv[]) { return execve(program, argv, environ); }
