/* The only program in the containers of the tests, linked statically: an image needs nothing but it.
 *
 *   pod                     waits until it is ended, and reaps, as a sandbox's first process has to
 *   pod serve PORT          answers TCP and UDP of both families: with the asker's address
 *   pod ask ADDRESS PORT tcp|udp [once]
 *                           prints the answer; ends with 1 where there is none. A server that does not listen
 *                           yet is asked again for a while, unless it says once
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SECONDS 5
#define LINE 64

static int fail(const char *what) {
    perror(what);
    return 1;
}

static void ended(int number) {
    (void)number;
    _exit(0);
}

static int listener(int type, int port) {
    struct sockaddr_in6 any = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int on = 1, off = 0, made = socket(AF_INET6, type | SOCK_CLOEXEC, 0);
    setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(made, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (made < 0 || bind(made, (struct sockaddr *)&any, sizeof any) || (type == SOCK_STREAM && listen(made, 128)))
        exit(fail("serve"));
    return made;
}

static size_t greeting(char *line, const struct sockaddr_in6 *asker) {
    char text[INET6_ADDRSTRLEN];
    inet_ntop(AF_INET6, &asker->sin6_addr, text, sizeof text);
    return (size_t)snprintf(line, LINE, "%s\n", strncmp(text, "::ffff:", 7) ? text : text + 7);
}

static void answer_tcp(int listening) {
    struct sockaddr_in6 asker;
    socklen_t size = sizeof asker;
    char line[LINE];
    int connection = accept(listening, (struct sockaddr *)&asker, &size);
    if (connection < 0)
        return;
    if (write(connection, line, greeting(line, &asker)) < 0)
        perror("answer");
    close(connection);
}

static void answer_udp(int bound) {
    struct sockaddr_in6 asker;
    socklen_t size = sizeof asker;
    char line[LINE];
    if (recvfrom(bound, line, sizeof line, 0, (struct sockaddr *)&asker, &size) >= 0)
        sendto(bound, line, greeting(line, &asker), 0, (struct sockaddr *)&asker, size);
}

static void serve(int port) {
    struct pollfd open[] = {{listener(SOCK_STREAM, port), POLLIN, 0}, {listener(SOCK_DGRAM, port), POLLIN, 0}};
    for (;;) {
        if (poll(open, 2, -1) < 0)
            continue;
        if (open[0].revents)
            answer_tcp(open[0].fd);
        if (open[1].revents)
            answer_udp(open[1].fd);
    }
}

/* 0 with the answer printed; -1 with the reason in errno. */
static int ask(const void *address, socklen_t size, int type) {
    struct timeval limit = {.tv_sec = SECONDS};
    char line[LINE];
    ssize_t got = -1;
    int made = socket(*(const sa_family_t *)address, type, 0);
    setsockopt(made, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    errno = 0;
    if (connect(made, address, size) == 0 && (type == SOCK_STREAM || send(made, "?", 1, 0) == 1))
        got = read(made, line, sizeof line);
    int reason = errno;
    close(made);
    errno = reason;
    if (got <= 0)
        return -1;
    printf("%.*s", (int)got, line);
    return 0;
}

static int ask_until_it_listens(const char *text, int port, int type, int tries) {
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    int is_six = inet_pton(AF_INET6, text, &six.sin6_addr) == 1;
    const void *address = is_six ? (const void *)&six : (const void *)&four;
    if (!is_six && inet_pton(AF_INET, text, &four.sin_addr) != 1)
        return fail(text);
    while (ask(address, is_six ? sizeof six : sizeof four, type)) {
        if (errno != ECONNREFUSED || --tries <= 0)
            return fail("ask");
        usleep(50000);
    }
    return 0;
}

int main(int argc, char **argv) {
    signal(SIGTERM, ended);
    signal(SIGINT, ended);
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && !strcmp(argv[1], "serve"))
        serve(atoi(argv[2]));
    if (argc >= 5 && !strcmp(argv[1], "ask")) {
        int type = strcmp(argv[4], "udp") ? SOCK_STREAM : SOCK_DGRAM;
        return ask_until_it_listens(argv[2], atoi(argv[3]), type, argc > 5 ? 1 : 200);
    }
    signal(SIGCHLD, SIG_IGN); /* the kernel reaps */
    for (;;)
        pause();
}
