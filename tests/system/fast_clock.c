/* Preloaded: the monotonic clock of a process runs thirty times as fast, and so do its timed waits: a minute takes
 * two seconds of a test. Every other clock is left as it is. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <time.h>

#define TIMES 30

typedef int gettime(clockid_t, struct timespec *);
typedef int wait_for(struct pollfd *, nfds_t, int);
typedef int sleep_until(clockid_t, int, const struct timespec *, struct timespec *);

int clock_gettime(clockid_t id, struct timespec *now)
{
    static gettime *real;
    static long long start = -1;
    long long nanoseconds;
    int status;

    if (!real)
        real = (gettime *)dlsym(RTLD_NEXT, "clock_gettime");
    status = real(id, now);
    if (status || id != CLOCK_MONOTONIC)
        return status;
    nanoseconds = now->tv_sec * 1000000000LL + now->tv_nsec;
    if (start < 0)
        start = nanoseconds;
    nanoseconds = start + (nanoseconds - start) * TIMES;
    now->tv_sec = nanoseconds / 1000000000LL;
    now->tv_nsec = nanoseconds % 1000000000LL;
    return 0;
}

/* Python sleeps until a moment of the clock that is too fast. */
int clock_nanosleep(clockid_t id, int flags, const struct timespec *request, struct timespec *remain)
{
    static sleep_until *real;
    struct timespec now;
    long long nanoseconds = request->tv_sec * 1000000000LL + request->tv_nsec;

    if (!real)
        real = (sleep_until *)dlsym(RTLD_NEXT, "clock_nanosleep");
    if (id != CLOCK_MONOTONIC || !(flags & TIMER_ABSTIME))
        return real(id, flags, request, remain);
    clock_gettime(id, &now);
    nanoseconds -= now.tv_sec * 1000000000LL + now.tv_nsec;
    if (nanoseconds <= 0)
        return 0;
    now.tv_sec = nanoseconds / TIMES / 1000000000LL;
    now.tv_nsec = nanoseconds / TIMES % 1000000000LL;
    return real(id, 0, &now, remain);
}

int poll(struct pollfd *files, nfds_t count, int milliseconds)
{
    static wait_for *real;

    if (!real)
        real = (wait_for *)dlsym(RTLD_NEXT, "poll");
    return real(files, count, milliseconds > 0 ? milliseconds / TIMES + 1 : milliseconds);
}
