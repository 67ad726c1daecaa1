/* Preloaded: below LIMITED_DIR there is no shared memory (LIMITED=memory) or there are no locks (LIMITED=locks). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static int lacks(const char *what, int fd) {
    char link[64], path[4096] = {0};
    const char *kind = getenv("LIMITED"), *folder = getenv("LIMITED_DIR");
    if (!kind || !folder || strcmp(kind, what)) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return readlink(link, path, sizeof path - 1) > 0 && !strncmp(path, folder, strlen(folder));
}

void *mmap(void *at, size_t size, int rights, int flags, int fd, off_t offset) {
    if (fd >= 0 && (flags & MAP_SHARED) && lacks("memory", fd)) {
        errno = ENODEV;
        return MAP_FAILED;
    }
    return (void *)syscall(SYS_mmap, at, size, rights, flags, fd, offset);
}

void *mmap64(void *at, size_t size, int rights, int flags, int fd, off_t offset) {
    return mmap(at, size, rights, flags, fd, offset);
}

static int control(int fd, int command, void *argument) {
    if ((command == F_SETLK || command == F_SETLKW || command == F_OFD_SETLK) && lacks("locks", fd)) {
        errno = ENOLCK;
        return -1;
    }
    return syscall(SYS_fcntl, fd, command, argument);
}

int fcntl(int fd, int command, ...) {
    va_list given;
    va_start(given, command);
    void *argument = va_arg(given, void *);
    va_end(given);
    return control(fd, command, argument);
}

int fcntl64(int fd, int command, ...) {
    va_list given;
    va_start(given, command);
    void *argument = va_arg(given, void *);
    va_end(given);
    return control(fd, command, argument);
}
