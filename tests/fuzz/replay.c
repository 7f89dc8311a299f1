/* replay.c - runs the seeds of all fuzz targets once, or files that a fuzzer
 * left: check_fuzz [TARGET [FILE...]]. Ends with "N passed, N failed", counted
 * in targets. */
#include "fuzz.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TARGETS(X) X(frame) X(pair) X(control) X(conn) X(rows) X(vet) X(engine)

#define TARGET_DECLARE(name) int fuzz_##name(const uint8_t *data, size_t size);
TARGETS(TARGET_DECLARE)

static const struct {
    const char *name;
    int (*run)(const uint8_t *data, size_t size);
} targets[] = {
#define TARGET_ROW(name) {#name, fuzz_##name},
    TARGETS(TARGET_ROW)};

static char current[4096]; /* for whoever reads why it ended */

static void on_crash(int signal_number)
{
    static const char text[] = "check_fuzz: crashed on ";

    (void)!write(STDERR_FILENO, text, sizeof text - 1);
    (void)!write(STDERR_FILENO, current, strlen(current));
    (void)!write(STDERR_FILENO, "\n", 1);
    (void)signal(signal_number, SIG_DFL);
    (void)raise(signal_number);
}

/* As libFuzzer does: bytes that lie in memory of just their size. */
static bool run_file(size_t target, const char *path)
{
    static uint8_t bytes[1 << 20];
    FILE *file = fopen(path, "rb");

    if (file == NULL) {
        fprintf(stderr, "cannot read %s\n", path);
        return false;
    }
    size_t size = fread(bytes, 1, sizeof bytes, file);
    (void)fclose(file);
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL)
        abort();
    memcpy(copy, bytes, size);
    (void)snprintf(current, sizeof current, "%s", path);
    (void)targets[target].run(copy, size);
    free(copy);
    return true;
}

static unsigned run_folder(size_t target)
{
    char folder[2048], path[4096];
    struct dirent *entry;
    unsigned count = 0;

    (void)snprintf(folder, sizeof folder, FUZZ_CORPUS "/%s",
                   targets[target].name);
    DIR *dir = opendir(folder);
    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        count += run_file(target, path);
    }
    if (dir != NULL)
        (void)closedir(dir);
    return count;
}

/* No bytes at all are an input, too. */
static bool run_target(size_t target, int files_count, char **files)
{
    unsigned count = 0;

    (void)strcpy(current, "nothing");
    (void)targets[target].run(NULL, 0);
    if (files_count == 0)
        count = run_folder(target);
    for (int i = 0; i < files_count; i++)
        count += run_file(target, files[i]);
    bool is_sound =
        count > 0 && (files_count == 0 || (int)count == files_count);
    printf("%s fuzz_%s: %u inputs\n", is_sound ? "ok" : "not ok",
           targets[target].name, count);
    (void)fflush(stdout);
    return is_sound;
}

int main(int argc, char **argv)
{
    unsigned passed = 0, failed = 0;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGABRT, on_crash);
    (void)signal(SIGSEGV, on_crash);
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        if (argc > 1 && strcmp(argv[1], targets[i].name) != 0)
            continue;
        if (run_target(i, argc > 2 ? argc - 2 : 0, argv + 2))
            passed++;
        else
            failed++;
    }
    if (passed + failed == 0)
        fprintf(stderr, "no such target: %s\n", argv[1]);
    printf("%u passed, %u failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}
