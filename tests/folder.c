#include "folder.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void folder_make(char out[256])
{
    const char *tmp = getenv("TMPDIR");

    (void)snprintf(out, 256, "%s/argus-test-XXXXXX",
                   tmp != NULL ? tmp : "/tmp");
    if (mkdtemp(out) == NULL)
        abort();
}

static void path_of(char out[768], const char *folder, const char *name)
{
    (void)snprintf(out, 768, "%s/%s", folder, name);
}

void folder_remove(const char *folder)
{
    DIR *dir = opendir(folder);
    struct dirent *entry;
    char path[768];

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        path_of(path, folder, entry->d_name);
        (void)remove(path);
    }
    if (dir != NULL)
        (void)closedir(dir);
    (void)rmdir(folder);
}

bool file_exists(const char *folder, const char *name)
{
    char path[768];

    path_of(path, folder, name);
    return access(path, F_OK) == 0;
}

bool file_write(const char *folder, const char *name, const void *data,
                size_t size)
{
    char path[768];

    path_of(path, folder, name);
    FILE *file = fopen(path, "wb");
    if (file == NULL)
        return false;
    bool ok = fwrite(data, 1, size, file) == size;
    return fclose(file) == 0 && ok;
}

long file_read(const char *folder, const char *name, void *out, size_t size)
{
    char path[768];

    path_of(path, folder, name);
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return -1;
    size_t got = fread(out, 1, size, file);
    (void)fclose(file);
    return (long)got;
}
