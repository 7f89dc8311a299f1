#include "cli_bed.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "folder.h"
#include "test.h"

#define WORDS_MAX 40

struct output {
    char *text;
    size_t room, used; /* with a NUL behind what is used */
    uv_pipe_t pipe;
};

static struct {
    uv_loop_t loop;
    struct control *control;
    char path[104];
    struct output out, err;
    int64_t exit_code;
    uint64_t begun_ns;
    bool has_ended;
} at;

struct cli_bed bed;

void bed_begin(const struct control_hooks *hooks)
{
    struct argus_error err;

    memset(&bed, 0, sizeof bed);
    memset(&at, 0, sizeof at);
    bed.columns = "COLUMNS=60";
    folder_make(bed.dir);
    CU_ASSERT_TRUE_FATAL((size_t)snprintf(at.path, sizeof at.path,
                                          "%s/control.sock",
                                          bed.dir) < sizeof at.path);
    CU_ASSERT_EQUAL_FATAL(uv_loop_init(&at.loop), 0);
    CU_ASSERT_EQUAL_FATAL(
        control_new(&at.loop,
                    &(struct control_options){.path = at.path,
                                              .collectd_version = "5.12.0"},
                    hooks, &at.control, &err),
        ARGUS_OK);
}

void bed_finish(void)
{
    json_decref(bed.json);
    free(at.out.text);
    free(at.err.text);
    control_close(at.control);
    CU_ASSERT_EQUAL(uv_run(&at.loop, UV_RUN_DEFAULT), 0);
    CU_ASSERT_EQUAL(uv_loop_close(&at.loop), 0);
    CU_ASSERT_FALSE(file_exists(bed.dir, "control.sock"));
    folder_remove(bed.dir);
}

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    struct output *o = handle->data;

    if (o->room - o->used <= suggested) {
        o->room = 2 * o->room + suggested + 1;
        o->text = realloc(o->text, o->room);
        CU_ASSERT_PTR_NOT_NULL_FATAL(o->text);
    }
    *buf = uv_buf_init(o->text + o->used, (unsigned)suggested);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buf)
{
    struct output *o = stream->data;

    (void)buf;
    if (count > 0)
        o->text[o->used += (size_t)count] = '\0';
    else if (count < 0)
        uv_close((uv_handle_t *)stream, NULL);
}

static void on_exit_status(uv_process_t *process, int64_t code, int signal)
{
    (void)signal;
    at.exit_code = code;
    at.has_ended = true;
    bed.took_ms = (double)(uv_hrtime() - at.begun_ns) / 1e6;
    uv_close((uv_handle_t *)process, NULL);
}

static bool is_running(const struct output *o)
{
    return !uv_is_closing((const uv_handle_t *)&o->pipe);
}

static void open_output(struct output *o, uv_stdio_container_t *stdio)
{
    free(o->text);
    *o = (struct output){.text = calloc(1, 1), .room = 1};
    CU_ASSERT_PTR_NOT_NULL_FATAL(o->text);
    CU_ASSERT_EQUAL_FATAL(uv_pipe_init(&at.loop, &o->pipe, 0), 0);
    o->pipe.data = o;
    stdio->flags = UV_CREATE_PIPE | UV_WRITABLE_PIPE;
    stdio->data.stream = (uv_stream_t *)&o->pipe;
}

static void put_folder(char *out, size_t size, const char *words)
{
    size_t used = 0;

    for (const char *w = words; *w != '\0' && used + 1 < size;) {
        if (strncmp(w, "DIR/", 4) == 0) {
            used += (size_t)snprintf(out + used, size - used, "%s/", bed.dir);
            w += 4;
        } else {
            out[used++] = *w++;
        }
    }
    out[used < size ? used : size - 1] = '\0';
}

int run(const char *words)
{
    static char text[4096];
    char *args[WORDS_MAX] = {(char *)"argusctl", (char *)"-s", at.path};
    char *env[] = {(char *)"LC_ALL=C.UTF-8", (char *)bed.columns,
                   (char *)bed.path, NULL};
    uv_stdio_container_t stdio[3] = {{.flags = UV_IGNORE}};
    uv_process_t process;
    size_t count = 3;

    put_folder(text, sizeof text, words);
    for (char *w = strtok(text, " "); w != NULL; w = strtok(NULL, " ")) {
        for (char *c = w; *c != '\0'; c++)
            *c = *c == '_' ? ' ' : *c;
        args[count++] = w;
    }
    at.has_ended = false;
    open_output(&at.out, &stdio[1]);
    open_output(&at.err, &stdio[2]);
    const char *file = getenv("ARGUSCTL");
    uv_process_options_t options = {
        .file = file != NULL ? file : "./argusctl",
        .args = args,
        .env = env,
        .stdio = stdio,
        .stdio_count = 3,
        .exit_cb = on_exit_status,
    };
    at.begun_ns = uv_hrtime();
    CU_ASSERT_EQUAL_FATAL(uv_spawn(&at.loop, &process, &options), 0);
    (void)uv_read_start((uv_stream_t *)&at.out.pipe, on_alloc, on_read);
    (void)uv_read_start((uv_stream_t *)&at.err.pipe, on_alloc, on_read);
    while (!at.has_ended || is_running(&at.out) || is_running(&at.err))
        (void)uv_run(&at.loop, UV_RUN_ONCE);
    for (int i = 0; i < 3; i++) /* the handles' close callbacks */
        (void)uv_run(&at.loop, UV_RUN_NOWAIT);
    bed.out = at.out.text;
    bed.err = at.err.text;
    json_decref(bed.json);
    bed.json = json_loads(bed.out, 0, NULL);
    return (int)at.exit_code;
}

bool prints(const char *text)
{
    return strstr(bed.out, text) != NULL;
}

bool complains(const char *text)
{
    return strstr(bed.err, text) != NULL;
}

const char *text_at(json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text != NULL ? text : "(none)";
}

bool has_keys(json_t *object, const char *const *names)
{
    for (; *names != NULL; names++)
        if (json_object_get(object, *names) == NULL) {
            printf("  no key %s\n", *names);
            return false;
        }
    return true;
}
