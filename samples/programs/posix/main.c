// What a POSIX program, an interpreter or the standard of preview 1 expects of files, below the folder that
// the first argument names: a line for each check, `ok NAME` or `WRONG NAME: what was found`. Not a sample to
// learn from, but what the tests run everywhere.
//
// The text depends on the arguments alone, so that it is the same wherever the program is moved.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <wasi/api.h>
#include <wasi/libc.h>

static const char *base;
static int dir;         // a descriptor of `base`
static int is_fleet;    // `base` is below /fleet
static int period_ms;   // between two checks

static void is(const char *name, long long found, long long wanted) {
    if (found == wanted)
        printf("ok %s\n", name);
    else
        printf("WRONG %s: %lld, not %lld\n", name, found, wanted);
    fflush(stdout);
    if (period_ms)
        poll(NULL, 0, period_ms);
}

// A call of the C library succeeds with 0 or more, or fails with this error.
#define FAILS(name, error, expression)                                                                       \
    do {                                                                                                     \
        errno = 0;                                                                                           \
        long result_ = (long)(expression);                                                                   \
        is(name, result_ < 0 ? errno : 0, error);                                                            \
    } while (0)
#define WORKS(name, expression) FAILS(name, 0, expression)

// A path below the base; four at a time.
static char *at(const char *name) {
    static char paths[4][300];
    static int next;
    char *path = paths[next++ & 3];
    snprintf(path, sizeof paths[0], "%s/%s", base, name);
    return path;
}

static void fill(const char *name, const char *text) {
    int fd = open(at(name), O_CREAT | O_TRUNC | O_WRONLY, 0644);
    write(fd, text, strlen(text));
    close(fd);
}

// Opened, and closed again.
static int closing(int fd) {
    return fd < 0 ? fd : close(fd);
}

static __wasi_fdstat_t status_of(int fd) {
    __wasi_fdstat_t status = {0};
    if (__wasi_fd_fdstat_get(fd, &status))
        status.fs_flags = 0xffff;
    return status;
}

static __wasi_filestat_t file_status_of(int fd) {
    __wasi_filestat_t status = {0};
    if (__wasi_fd_filestat_get(fd, &status))
        status.nlink = 0xffff;
    return status;
}

static size_t listed(int fd, uint8_t *bytes, size_t room, __wasi_dircookie_t cookie) {
    size_t used = 0;
    return __wasi_fd_readdir(fd, bytes, room, cookie, &used) ? 0 : used;
}

static int exists(const char *name) {
    struct stat s;
    return stat(at(name), &s) == 0;
}

static int holds(int fd, off_t offset, const char *text) {
    char found[64] = "";
    return pread(fd, found, sizeof found, offset) == (ssize_t)strlen(text) && strcmp(found, text) == 0;
}

static __wasi_errno_t raw_open(int folder, const char *path, size_t bytes, int oflags,
    __wasi_rights_t rights, int flags, int *fd) {
    // The wrapper of the library takes strings; this is the import with a length.
    extern int32_t imported_path_open(int32_t, int32_t, int32_t, int32_t, int32_t, int64_t, int64_t,
        int32_t, int32_t)
        __attribute__((import_module("wasi_snapshot_preview1"), import_name("path_open")));
    return imported_path_open(folder, 0, (int32_t)path, bytes, oflags, rights, 0, flags, (int32_t)fd);
}

static void slashes(void) {
    struct stat s;
    fill("f", "x");
    FAILS("slash: open f/", ENOTDIR, open(at("f/"), O_RDONLY));
    FAILS("slash: open f/// to write", ENOTDIR, open(at("f///"), O_WRONLY));
    FAILS("slash: open f/ with O_DIRECTORY", ENOTDIR, open(at("f/"), O_RDONLY | O_DIRECTORY));
    FAILS("slash: open f/ with O_CREAT", ENOTDIR, open(at("f/"), O_CREAT | O_WRONLY, 0644));
    FAILS("slash: open f/ with O_TRUNC", ENOTDIR, open(at("f/"), O_TRUNC | O_WRONLY));
    FAILS("slash: stat f/", ENOTDIR, stat(at("f/"), &s));
    FAILS("slash: stat f/.", ENOTDIR, stat(at("f/."), &s));
    FAILS("slash: stat f/..", ENOTDIR, stat(at("f/.."), &s));
    FAILS("slash: stat missing/..", ENOENT, stat(at("missing/.."), &s));
    FAILS("slash: open f/../f", ENOTDIR, open(at("f/../f"), O_RDONLY));
    FAILS("slash: open f/x", ENOTDIR, open(at("f/x"), O_RDONLY));
    FAILS("slash: rename f/ g", ENOTDIR, rename(at("f/"), at("g")));
    FAILS("slash: rename f g/", ENOTDIR, rename(at("f"), at("g/")));
    FAILS("slash: rename missing/ g", ENOENT, rename(at("missing/"), at("g")));
    FAILS("slash: unlink f/", ENOTDIR, unlink(at("f/")));
    FAILS("slash: rmdir f/", ENOTDIR, rmdir(at("f/")));
    FAILS("slash: mkdir f/", EEXIST, mkdir(at("f/"), 0755));
    WORKS("slash: f is still there", stat(at("f"), &s));
    is("slash: and whole", s.st_size, 1);
    FAILS("slash: open new/ with O_CREAT", EISDIR, open(at("new/"), O_CREAT | O_WRONLY, 0644));
    FAILS("slash: open new/. with O_CREAT", ENOENT, open(at("new/."), O_CREAT | O_WRONLY, 0644));
    FAILS("slash: nothing was made", ENOENT, stat(at("new"), &s));
    WORKS("slash: mkdir d/", mkdir(at("d/"), 0755));
    WORKS("slash: stat d/", stat(at("d/"), &s));
    FAILS("slash: mkdir d/.", EEXIST, mkdir(at("d/."), 0755));
    FAILS("slash: open d/ with O_CREAT", EISDIR, open(at("d/"), O_CREAT | O_RDONLY, 0644));
    FAILS("slash: open d with O_CREAT", EISDIR, open(at("d"), O_CREAT | O_RDONLY, 0644));
    FAILS("slash: unlink d", EISDIR, unlink(at("d")));
    FAILS("slash: unlink d/", EISDIR, unlink(at("d/")));
    FAILS("slash: unlink d/.", EISDIR, unlink(at("d/.")));
    FAILS("slash: unlink missing/", ENOENT, unlink(at("missing/")));
    FAILS("slash: rmdir d/.", EINVAL, rmdir(at("d/.")));
    FAILS("slash: rename d/. e", EINVAL, rename(at("d/."), at("e")));
    WORKS("slash: rename d/ e", rename(at("d/"), at("e")));
    WORKS("slash: rename e d/", rename(at("e"), at("d/")));
    WORKS("slash: rename d/ e//", rename(at("d/"), at("e//")));
    FAILS("slash: rename f e/", ENOTDIR, rename(at("f"), at("e/")));
    WORKS("slash: rmdir e/", rmdir(at("e/")));
    WORKS("slash: unlink f", unlink(at("f")));
}

static void paths(void) {
    struct stat s;
    int fd, other;
    char longest[257];
    memset(longest, 'x', 256);
    longest[256] = 0;
    mkdir(at("p"), 0755);
    mkdir(at("p/q"), 0755);
    fill("p/q/f", "x");
    int p = open(at("p"), O_RDONLY | O_DIRECTORY);
    WORKS("path: many slashes and dots", closing(openat(p, "q/.//../q/..///q/./f", O_RDONLY)));
    WORKS("path: a folder with slashes", closing(openat(p, "q///", O_RDONLY)));
    is("path: out of the folder", raw_open(p, "../p", 4, 0, 0, 0, &fd), __WASI_ERRNO_NOTCAPABLE);
    is("path: out of the folder and in again", raw_open(p, "q/../../p/q", 11, 0, 0, 0, &fd),
       __WASI_ERRNO_NOTCAPABLE);
    is("path: absolute", raw_open(p, "/q/f", 4, 0, 0, 0, &fd), __WASI_ERRNO_NOTCAPABLE);
    is("path: with NUL", raw_open(p, "q/f\0", 4, 0, 0, 0, &fd), __WASI_ERRNO_INVAL);
    is("path: empty", raw_open(p, "", 0, 0, 0, 0, &fd), __WASI_ERRNO_NOENT);
    is("path: no UTF-8", raw_open(p, "\xff\xfe", 2, 1, 0, 0, &fd), __WASI_ERRNO_ILSEQ);
    is("path: 4 GiB long", raw_open(p, "q", UINT32_MAX, 0, 0, 0, &fd), __WASI_ERRNO_FAULT);
    FAILS("path: a long name", ENAMETOOLONG, openat(p, longest, O_CREAT | O_WRONLY, 0644));
    fd = open(at("p/q/f"), O_RDONLY);
    FAILS("path: below a descriptor of a file", ENOTDIR, openat(fd, "x", O_CREAT | O_WRONLY, 0644));
    FAILS("path: a missing file", ENOENT, open(at("p/x"), O_RDONLY));
    FAILS("path: a file that is there with O_EXCL", EEXIST, open(at("p/q/f"), O_CREAT | O_EXCL | O_WRONLY,
          0644));
    FAILS("path: a file as a folder", ENOTDIR, open(at("p/q/f"), O_RDONLY | O_DIRECTORY));
    FAILS("path: a folder to write", EISDIR, open(at("p/q"), O_WRONLY));
    is("path: a folder as such to write", raw_open(p, "q", 1, __WASI_OFLAGS_DIRECTORY,
       __WASI_RIGHTS_FD_READ | __WASI_RIGHTS_FD_WRITE, 0, &fd), __WASI_ERRNO_ISDIR);
    is("path: unknown flags", raw_open(p, "q", 1, 0, 0, 32, &fd), __WASI_ERRNO_INVAL);
    is("path: not blocking", raw_open(p, "q", 1, 0, 0, __WASI_FDFLAGS_NONBLOCK, &other), 0);
    close(other);
    FAILS("path: mkdir twice", EEXIST, mkdir(at("p/q"), 0755));
    FAILS("path: rmdir with something in it", ENOTEMPTY, rmdir(at("p")));
    FAILS("path: rmdir of a file", ENOTDIR, rmdir(at("p/q/f")));
    FAILS("path: rename into itself", EINVAL, rename(at("p"), at("p/q/o")));
    FAILS("path: a file over a folder", EISDIR, rename(at("p/q/f"), at("p/q")));
    FAILS("path: a folder over a file", ENOTDIR, (mkdir(at("p/o"), 0755), rename(at("p/o"), at("p/q/f"))));
    FAILS("path: a folder over a full one", ENOTEMPTY, rename(at("p/o"), at("p/q")));
    WORKS("path: a folder over an empty one", rename(at("p/q"), at("p/o")));
    WORKS("path: what was in it is there", stat(at("p/o/f"), &s));
    FAILS("path: and not where it was", ENOENT, stat(at("p/q"), &s));
    WORKS("path: a file over a file", (fill("p/o/g", "yy"), rename(at("p/o/g"), at("p/o/f"))));
    is("path: which is it now", (stat(at("p/o/f"), &s), s.st_size), 2);
    FAILS("path: no symbolic links", ENOTSUP, symlink("f", at("p/o/l")));
    FAILS("path: no links", ENOTSUP, link(at("p/o/f"), at("p/o/l")));
    FAILS("path: a file is no link", EINVAL, readlink(at("p/o/f"), longest, 9));
    unlink(at("p/o/f"));
    close(fd);
    rmdir(at("p/o"));
    WORKS("path: rmdir", rmdir(at("p")));
    close(p);
}

static void contents(void) {
    char text[64] = "";
    int fd = open(at("c"), O_CREAT | O_RDWR, 0644), other;
    is("content: write", write(fd, "0123456789", 10), 10);
    is("content: tell", lseek(fd, 0, SEEK_CUR), 10);
    is("content: seek back", lseek(fd, -5, SEEK_CUR), 5);
    is("content: read to the end", read(fd, text, 64), 5);
    is("content: what is there", memcmp(text, "56789", 5), 0);
    is("content: read at the end", read(fd, text, 64), 0);
    FAILS("content: seek before the beginning", EINVAL, lseek(fd, -2000, SEEK_CUR));
    is("content: seek behind the end", lseek(fd, 1000, SEEK_SET), 1000);
    is("content: pwrite", pwrite(fd, "ab", 2, 2), 2);
    is("content: which does not move", lseek(fd, 0, SEEK_CUR), 1000);
    is("content: pread", holds(fd, 1, "1ab456789"), 1);
    other = open(at("c"), O_WRONLY);
    is("content: written elsewhere", write(other, "Z", 1), 1);
    is("content: is read at once", holds(fd, 0, "Z1ab456789"), 1);
    FAILS("content: read what is open to write", EBADF, read(other, text, 1));
    close(other);
    other = open(at("c"), O_RDONLY);
    FAILS("content: write what is open to read", EBADF, write(other, "x", 1));
    FAILS("content: truncate what is open to read", EBADF, __wasi_fd_filestat_set_size(other,
          0) ? (errno = EBADF, -1) : 0);
    close(other);
    close(fd);
    fd = open(at("c"), O_RDWR | O_APPEND);
    lseek(fd, 0, SEEK_SET);
    is("content: append", write(fd, "end", 3), 3);
    is("content: moves to the end", lseek(fd, 0, SEEK_CUR), 13);
    is("content: and that is where it is", holds(fd, 8, "89end"), 1);
    WORKS("content: append no more", fcntl(fd, F_SETFL, 0));
    lseek(fd, 0, SEEK_SET);
    is("content: write at the beginning", (write(fd, "A", 1), holds(fd, 0, "A1ab456789end")), 1);
    WORKS("content: cut off", ftruncate(fd, 4));
    is("content: what is left", holds(fd, 0, "A1ab"), 1);
    WORKS("content: filled up", ftruncate(fd, 100));
    is("content: with zeros", (pread(fd, text, 1, 99), text[0]), 0);
    WORKS("content: allocate", posix_fallocate(fd, 90, 20) ? -1 : 0);
    is("content: so long", lseek(fd, 0, SEEK_END), 110);
    is("content: allocate what is there", (posix_fallocate(fd, 10, 10), lseek(fd, 0, SEEK_END)), 110);
    is("content: advise", posix_fadvise(fd, 10, 50, POSIX_FADV_NORMAL), 0);
    is("content: bad advice", __wasi_fd_advise(fd, 0, 0, 9), __WASI_ERRNO_INVAL);
    WORKS("content: sync", fsync(fd));
    close(fd);
    fd = open(at("c"), O_CREAT | O_TRUNC | O_RDWR, 0644);
    is("content: truncated when it is opened", read(fd, text, 9), 0);
    close(fd);
    unlink(at("c"));
}

static void far_offsets(void) {
    char byte = 'x';
    __wasi_iovec_t in = {(uint8_t *)&byte, 1};
    __wasi_ciovec_t out = {(uint8_t *)&byte, 1};
    size_t done = 9;
    __wasi_filesize_t offset;
    int fd = open(at("o"), O_CREAT | O_RDWR, 0644);
    is("offset: pread at the highest", __wasi_fd_pread(fd, &in, 1, UINT64_MAX, &done), __WASI_ERRNO_INVAL);
    is("offset: pwrite at the highest", __wasi_fd_pwrite(fd, &out, 1, UINT64_MAX, &done), __WASI_ERRNO_INVAL);
    is("offset: pread at a high one", __wasi_fd_pread(fd, &in, 1, INT64_MAX, &done), 0);
    is("offset: finds nothing", done, 0);
    is("offset: pwrite at a high one fails", __wasi_fd_pwrite(fd, &out, 1, INT64_MAX, &done) != 0, 1);
    is("offset: seek to the highest", __wasi_fd_seek(fd, INT64_MAX, __WASI_WHENCE_SET, &offset), 0);
    is("offset: seek on", __wasi_fd_seek(fd, INT64_MAX, __WASI_WHENCE_CUR, &offset), __WASI_ERRNO_INVAL);
    is("offset: write there fails", __wasi_fd_write(fd, &out, 1, &done) != 0, 1);
    is("offset: a negative length", __wasi_fd_filestat_set_size(fd, UINT64_MAX), __WASI_ERRNO_INVAL);
    is("offset: allocate too much", __wasi_fd_allocate(fd, INT64_MAX, INT64_MAX), __WASI_ERRNO_INVAL);
    is("offset: buffers of 4 GiB", __wasi_fd_read(fd, &(__wasi_iovec_t){(uint8_t *)8, UINT32_MAX}, 1,
       &done), __WASI_ERRNO_FAULT);
    is("offset: a million buffers", __wasi_fd_write(fd, &out, 1000000, &done), __WASI_ERRNO_INVAL);
    is("offset: a listing at the highest", __wasi_fd_readdir(dir, (uint8_t *)&byte, 1, INT64_MAX, &done), 0);
    close(fd);
    unlink(at("o"));
}

static void statuses(void) {
    const __wasi_rights_t of_folder = 0x7fe00 | 1 << 20 | 1 << 21 | 0xf << 23;
    __wasi_fdstat_t status;
    __wasi_prestat_t mount;
    uint8_t name[2];
    size_t count;
    fill("s", "x");
    int fd = open(at("s"), O_RDONLY);
    status = status_of(dir);
    is("status: a folder is one", status.fs_filetype, __WASI_FILETYPE_DIRECTORY);
    is("status: its rights", status.fs_rights_base & of_folder & ~(__wasi_rights_t)(1 << 19),
       of_folder & ~(__wasi_rights_t)(1 << 19));
    is("status: no seeking, no length",
       status.fs_rights_base &
           (__WASI_RIGHTS_FD_SEEK | __WASI_RIGHTS_FD_FILESTAT_SET_SIZE | __WASI_RIGHTS_PATH_FILESTAT_SET_SIZE),
       0);
    is("status: what it gives on", status.fs_rights_inheriting & 0x1ff, 0x1ff);
    is("status: no flags", status.fs_flags, 0);
    status = status_of(fd);
    is("status: open to read", status.fs_rights_base & (__WASI_RIGHTS_FD_READ | __WASI_RIGHTS_FD_WRITE),
       __WASI_RIGHTS_FD_READ);
    is("status: no other rights are given", __wasi_fd_fdstat_set_rights(fd, 0, 0), __WASI_ERRNO_NOTSUP);
    close(fd);
    fd = open(at("s"), O_WRONLY | O_APPEND | O_SYNC);
    status = status_of(fd);
    is("status: open to write", status.fs_rights_base & (__WASI_RIGHTS_FD_READ | __WASI_RIGHTS_FD_WRITE),
       __WASI_RIGHTS_FD_WRITE);
    is("status: appending is a flag", status.fs_flags & __WASI_FDFLAGS_APPEND, __WASI_FDFLAGS_APPEND);
    is("status: syncing is too", status.fs_flags & __WASI_FDFLAGS_SYNC, __WASI_FDFLAGS_SYNC);
    is("status: no unknown flags", __wasi_fd_fdstat_set_flags(fd, 0x20), __WASI_ERRNO_INVAL);
    is("status: a file is no terminal", isatty(fd), 0);
    is("status: a file is no mount", __wasi_fd_prestat_get(fd, &mount), __WASI_ERRNO_BADF);
    is("status: a mount's name", __wasi_fd_prestat_dir_name(3, name, 2), __WASI_ERRNO_NAMETOOLONG);
    is("status: a file is no socket", __wasi_sock_shutdown(fd, 1), __WASI_ERRNO_NOTSOCK);
    is("status: nor is nothing", __wasi_sock_shutdown(99, 1), __WASI_ERRNO_BADF);
    close(fd);
    is("status: read a folder", __wasi_fd_read(dir, &(__wasi_iovec_t){name, 1}, 1, &count),
       __WASI_ERRNO_ISDIR);
    is("status: write a folder", __wasi_fd_write(dir, &(__wasi_ciovec_t){name, 1}, 1, &count),
       __WASI_ERRNO_BADF);
    is("status: seek in a folder", __wasi_fd_seek(dir, 0, __WASI_WHENCE_END, &(__wasi_filesize_t){0}),
       __WASI_ERRNO_ISDIR);
    is("status: tell in a folder", __wasi_fd_tell(dir, &(__wasi_filesize_t){0}), __WASI_ERRNO_ISDIR);
    is("status: allocate a folder", __wasi_fd_allocate(dir, 0, 1) != 0, 1);
    is("status: set a folder's length", __wasi_fd_filestat_set_size(dir, 0) != 0, 1);
    unlink(at("s"));
}

static void times(void) {
    const int bad[] = {__WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_ATIM_NOW,
        __WASI_FSTFLAGS_MTIM | __WASI_FSTFLAGS_MTIM_NOW, 16};
    __wasi_filestat_t before, after;
    int fd = open(at("t"), O_CREAT | O_WRONLY, 0644);
    for (int i = 0; i < 3; i++) {
        is("times: contradicting flags", __wasi_fd_filestat_set_times(fd, 1, 2, bad[i]), __WASI_ERRNO_INVAL);
        is("times: of a path", __wasi_path_filestat_set_times(dir, 0, "t", 1, 2, bad[i]), __WASI_ERRNO_INVAL);
    }
    if (is_fleet) {
        is("times: /fleet has its own", __wasi_fd_filestat_set_times(fd, 1, 2, __WASI_FSTFLAGS_MTIM),
           __WASI_ERRNO_NOTSUP);
    } else {
        before = file_status_of(fd);
        is("times: set that of writing", __wasi_fd_filestat_set_times(fd, 7, 1000, __WASI_FSTFLAGS_MTIM), 0);
        after = file_status_of(fd);
        is("times: is set", after.mtim, 1000);
        is("times: and the other is not", after.atim == before.atim, 1);
        is("times: set that of reading", __wasi_path_filestat_set_times(dir, 0, "t", 7, 9,
           __WASI_FSTFLAGS_ATIM), 0);
        after = file_status_of(fd);
        is("times: is set too", after.atim, 7);
        is("times: and the first is as it was", after.mtim, 1000);
        is("times: now", __wasi_path_filestat_set_times(dir, 0, "t", 7, 9, __WASI_FSTFLAGS_MTIM_NOW), 0);
        after = file_status_of(fd);
        is("times: is later", after.mtim >= before.mtim, 1);
        is("times: of a file as a folder", __wasi_path_filestat_set_times(dir, 0, "t/", 7, 9,
           __WASI_FSTFLAGS_MTIM), __WASI_ERRNO_NOTDIR);
        is("times: of a folder", __wasi_fd_filestat_set_times(dir, 7, 1000,
           __WASI_FSTFLAGS_ATIM | __WASI_FSTFLAGS_MTIM), 0);
    }
    close(fd);
    unlink(at("t"));
}

static void identities(void) {
    struct stat one, other, found;
    int scratch = open("/tmp/i", O_CREAT | O_WRONLY, 0644), fd = open(at("j"), O_CREAT | O_WRONLY, 0644);
    fstat(scratch, &one);
    fstat(fd, &other);
    is("identity: two files differ", one.st_dev == other.st_dev && one.st_ino == other.st_ino, 0);
    is("identity: of different mounts by the device", one.st_dev != other.st_dev, is_fleet);
    stat("/tmp", &one);
    stat(base, &found);
    is("identity: so do folders", one.st_dev == found.st_dev && one.st_ino == found.st_ino, !is_fleet
       && strcmp(base, "/tmp") == 0);
    rename(at("j"), at("k"));
    stat(at("k"), &found);
    is("identity: a renamed file is the same", found.st_dev == other.st_dev && found.st_ino == other.st_ino,
       1);
    is("identity: it has one name", found.st_nlink, 1);
    unlink(at("k"));
    close(fd);
    fill("k", "");
    stat(at("k"), &found);
    is("identity: another of its name is not", found.st_ino == other.st_ino, 0);
    for (int i = 0; i < 3; i++) {
        fstat(i, &one);
        is("identity: a stream is no file", one.st_dev == other.st_dev, 0);
    }
    close(scratch);
    unlink("/tmp/i");
    unlink(at("k"));
}

static void removed_while_open(void) {
    struct stat s;
    int fd = open(at("r"), O_CREAT | O_RDWR, 0644), other;
    WORKS("open: is removed", unlink(at("r")));
    is("open: is written", write(fd, "hello", 5), 5);
    is("open: is read", holds(fd, 0, "hello"), 1);
    WORKS("open: has a status", fstat(fd, &s));
    is("open: without a name", s.st_nlink, 0);
    is("open: and with a length", s.st_size, 5);
    WORKS("open: is cut off", ftruncate(fd, 2));
    other = open(at("r"), O_CREAT | O_EXCL | O_RDWR, 0644);
    is("open: another of its name", write(other, "new", 3), 3);
    is("open: is another", holds(fd, 0, "he") && holds(other, 0, "new"), 1);
    close(fd);
    fill("q", "better");
    WORKS("open: is replaced", rename(at("q"), at("r")));
    is("open: is what it was", holds(other, 0, "new"), 1);
    is("open: and is written", pwrite(other, "N", 1, 0), 1);
    is("open: and read", holds(other, 0, "New"), 1);
    fd = open(at("r"), O_RDONLY);
    is("open: what has its name is the other", holds(fd, 0, "better"), 1);
    close(fd);
    close(other);
    unlink(at("r"));
}

static void folders_while_open(void) {
    struct stat s;
    mkdir(at("m"), 0755);
    mkdir(at("m/in"), 0755);
    int outer = open(at("m"), O_RDONLY | O_DIRECTORY), inner = open(at("m/in"), O_RDONLY | O_DIRECTORY), fd;
    WORKS("folder: is renamed", rename(at("m"), at("n")));
    WORKS("folder: a file is made in it", fd = openat(inner, "f", O_CREAT | O_WRONLY, 0644));
    close(fd);
    is("folder: where it is now", exists("n/in/f"), 1);
    WORKS("folder: found from the outer one", fstatat(outer, "in/f", &s, 0));
    WORKS("folder: another gets its old name", mkdir(at("m"), 0755));
    WORKS("folder: and is not it", fstatat(outer, "in", &s, 0));
    WORKS("folder: is put in the place of the other", rename(at("n"), at("m")));
    WORKS("folder: and is it still", fstatat(outer, "in/f", &s, 0));
    unlinkat(inner, "f", 0);
    WORKS("folder: is removed", rmdir(at("m/in")));
    FAILS("folder: nothing is made in it", ENOENT, openat(inner, "g", O_CREAT | O_WRONLY, 0644));
    WORKS("folder: another has its name", mkdir(at("m/in"), 0755));
    FAILS("folder: and that is another", ENOENT, openat(inner, "g", O_CREAT | O_WRONLY, 0644));
    WORKS("folder: it has a status", fstat(inner, &s));
    is("folder: but no name", s.st_nlink, 0);
    WORKS("folder: is closed", close(inner));
    rmdir(at("m/in"));
    rmdir(at("m"));
    close(outer);
}

static void listings(void) {
    enum { FILES = 30 };
    char name[16];
    int seen[FILES] = {0}, dots = 0, wrong = 0, all = 0;
    uint8_t bytes[100];
    __wasi_dircookie_t cookie = 0;
    size_t used;
    mkdir(at("l"), 0755);
    int fd = open(at("l"), O_RDONLY | O_DIRECTORY);
    is("list: an empty folder has . and ..", listed(fd, bytes, sizeof bytes, 0),
       2 * sizeof(__wasi_dirent_t) + 3);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "l/f%d", i);
        fill(name, "");
    }
    DIR *list = opendir(at("l"));
    for (struct dirent *entry; (entry = readdir(list));) {
        struct stat s;
        if (entry->d_name[0] == '.') {
            dots += entry->d_type == DT_DIR && (strcmp(entry->d_name, ".") || (fstat(fd, &s) == 0
                && entry->d_ino == s.st_ino));
        } else {
            seen[atoi(entry->d_name + 1) % FILES]++;
            wrong += entry->d_type != DT_REG || fstatat(fd, entry->d_name, &s, 0) || s.st_ino != entry->d_ino;
        }
    }
    closedir(list);
    for (int i = 0; i < FILES; i++)
        wrong += seen[i] != 1;
    is("list: . and ..", dots, 2);
    is("list: each file once, as it is", wrong, 0);
    do {
        __wasi_dirent_t entry;
        used = listed(fd, bytes, sizeof bytes, cookie);
        for (size_t at = 0; at + sizeof entry <= used; at += sizeof entry + entry.d_namlen) {
            memcpy(&entry, bytes + at, sizeof entry);
            if (at + sizeof entry + entry.d_namlen > used)
                break;
            cookie = entry.d_next;
            all++;
        }
    } while (used == sizeof bytes);
    is("list: piece by piece", all, FILES + 2);
    int file = open(at("l/f0"), O_RDONLY);
    is("list: a file", __wasi_fd_readdir(file, bytes, 9, 0, &used), __WASI_ERRNO_NOTDIR);
    close(file);
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "l/f%d", i);
        unlink(at(name));
    }
    WORKS("list: is empty again", rmdir(at("l")));
    is("list: what was removed", __wasi_fd_readdir(fd, bytes, 9, 0, &used), __WASI_ERRNO_NOENT);
    close(fd);
}

static int polled(int fd, int events) {
    struct pollfd one = {fd, events, 0};
    return poll(&one, 1, 1000) == 1 ? one.revents : -1;
}

static void polls(void) {
    int fd = open(at("e"), O_CREAT | O_RDWR, 0644);
    write(fd, "abc", 3);
    lseek(fd, 0, SEEK_SET);
    is("poll: a file to read", polled(fd, POLLIN), POLLIN);
    is("poll: a file to write", polled(fd, POLLOUT), POLLOUT);
    is("poll: a file to read and write", polled(fd, POLLIN | POLLOUT), POLLIN | POLLOUT);
    is("poll: a folder", polled(dir, POLLIN), POLLIN);
    is("poll: nothing", polled(99, POLLIN), POLLNVAL);
    is("poll: standard input", polled(0, POLLIN) & POLLNVAL, 0);
    is("poll: standard output", polled(1, POLLOUT), POLLOUT);
    is("poll: standard output to read", polled(1, POLLIN) & POLLNVAL, 0);
    struct pollfd both[2] = {{0, POLLIN, 0}, {fd, POLLIN, 0}};
    is("poll: an input and a file", poll(both, 2, 1000) == 2 && both[1].revents == POLLIN, 1);
    close(fd);
    unlink(at("e"));
}

static void numbers(void) {
    struct stat one, other;
    int fd = open(at("1"), O_CREAT | O_RDWR, 0644), more = open(at("2"), O_CREAT | O_RDWR, 0644), last = 0,
        count = 0;
    is("number: the next one", more, fd + 1);
    close(fd);
    is("number: the lowest is used again", open(at("1"), O_RDONLY), fd);
    fstat(fd, &one);
    is("number: give another", __wasi_fd_renumber(fd, more), 0);
    FAILS("number: the old one is closed", EBADF, close(fd));
    fstat(more, &other);
    is("number: the new one is it", one.st_ino == other.st_ino, 1);
    is("number: none that is not open", __wasi_fd_renumber(more, fd), __WASI_ERRNO_BADF);
    is("number: its own", __wasi_fd_renumber(more, more), 0);
    close(more);
    if (!is_fleet) {
        for (int i = 0; i < 10000; i++) {
            int opened = open(at("1"), O_RDONLY);
            count += opened >= 0;
            last = opened >= 0 ? opened : last;
        }
        is("number: so many and no more", count > 200 && count < 1000 && errno == EMFILE, 1);
        while (last > dir)
            close(last--);
    }
    unlink(at("1"));
    unlink(at("2"));
}

static void streams(void) {
    char text[16] = "";
    int spare = open(at("x"), O_CREAT | O_RDWR, 0644);
    is("stream: output is a terminal, so that lines are shown at once", isatty(1), 1);
    is("stream: nothing else is", isatty(0) + isatty(2), 0);
    // The stream goes elsewhere for a while.
    int moved = __wasi_fd_renumber(1, spare);
    int closed = write(1, "leaked\n", 7) < 0 && errno == EBADF;
    int lowest = open(at("y"), O_CREAT | O_RDWR, 0644);
    int written = write(1, "to a file\n", 10);
    int reopened = freopen(at("z"), "w", stdout) != NULL;
    int printed = printf("hello\n");
    fflush(stdout);
    write(spare, "the stream, elsewhere\n", 22);
    int back = __wasi_fd_renumber(spare, 1);
    setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
    is("stream: is moved", moved, 0);
    is("stream: is closed then", closed, 1);
    is("stream: its number is used again", lowest, 1);
    is("stream: for a file", written, 10);
    is("stream: is opened again", reopened && printed == 6, 1);
    is("stream: is moved back", back, 0);
    FILE *file = fopen(at("z"), "r");
    is("stream: what was printed is in the file", file && fgets(text, 16, file) && strcmp(text,
       "hello\n") == 0, 1);
    fclose(file);
    WORKS("stream: input is closed", close(0));
    FAILS("stream: and not read", EBADF, read(0, text, 1));
    is("stream: and is a file now", open(at("z"), O_RDONLY), 0);
    is("stream: which is read", read(0, text, 16), 6);
    is("stream: and polled", polled(0, POLLIN), POLLIN);
    WORKS("stream: errors are closed", close(2));
    FAILS("stream: and not written", EBADF, write(2, "leaked\n", 7));
    FAILS("stream: nor closed again", EBADF, close(2));
    unlink(at("x"));
    unlink(at("y"));
    unlink(at("z"));
}

// Prints a line that nobody says shall be shown, and computes for ever.
static void one_line(void) {
    printf("a line, and then work\n");
    for (volatile unsigned work = 0;; work++)
        ;
}

// What it has open is of unusual kinds while it waits for a dispatcher; then it uses all of it.
static int held_open(void) {
    char text[64] = "";
    base = "/tmp";
    mkdir(at("folder"), 0755);
    mkdir(at("gone"), 0755);
    int file = open(at("file"), O_CREAT | O_RDWR, 0644), folder = open(at("folder"), O_RDONLY | O_DIRECTORY);
    int gone = open(at("gone"), O_RDONLY | O_DIRECTORY);
    write(file, "removed, ", 9);
    unlink(at("file"));
    rename(at("folder"), at("renamed"));
    rmdir(at("gone"));
    close(0);
    freopen(at("out"), "w", stdout);
    printf("before, ");
    fflush(stdout);
    open("/fleet/go", O_RDONLY);
    printf("after\n");
    fflush(stdout);
    write(file, "and written\n", 12);
    pread(file, text, sizeof text, 0);
    fputs(text, stderr);
    close(openat(folder, "new", O_CREAT | O_WRONLY, 0644));
    fprintf(stderr, "renamed: %d\n", exists("renamed/new"));
    mkdir(at("gone"), 0755);
    fprintf(stderr, "gone: %d\n", openat(gone, "new", O_CREAT | O_WRONLY, 0644) < 0 && errno == ENOENT);
    int out = open(at("out"), O_RDONLY);
    memset(text, 0, sizeof text);
    read(out, text, sizeof text);
    fprintf(stderr, "%d: %s", out, text);
    return 0;
}

int main(int count, char **arguments) {
    base = count > 1 ? arguments[1] : "/tmp";
    if (strcmp(base, "line") == 0)
        one_line();
    if (strcmp(base, "held") == 0)
        return held_open();
    is_fleet = strncmp(base, "/fleet", 6) == 0;
    period_ms = count > 2 ? atoi(arguments[2]) : 0;
    dir = open(base, O_RDONLY | O_DIRECTORY);
    is("the folder", dir > 2, 1);
    slashes();
    paths();
    contents();
    far_offsets();
    statuses();
    times();
    identities();
    removed_while_open();
    folders_while_open();
    listings();
    polls();
    numbers();
    // Kept by what comes last: a file that is written through standard output, wherever the program goes on.
    streams();
    printf("done\n");
    return 0;
}
