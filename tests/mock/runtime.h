/* runtime.h - a double of src/runtime: takes what the plugin posts and keeps
 * it, and lets a test call the hooks. */
#ifndef ARGUS_TESTS_MOCK_RUNTIME_H
#define ARGUS_TESTS_MOCK_RUNTIME_H

#include <pthread.h>

#include "runtime/runtime.h"

/* What the runtime was told and is to answer; one at a time. */
struct mock_runtime {
    struct runtime_options options;
    struct runtime_hooks hooks;
    int open_status;   /* what runtime_open() answers */
    bool full;         /* mailboxes refuse */
    bool gone;         /* who posts now does so too late */
    bool wants_down;   /* a worker has writers */
    bool moved;        /* what runtime_series_moved() answers */
    uint32_t moved_ms; /* ... and how long it takes */

    unsigned made, opened, freed, running, stopped, freezes;
    uint32_t drain_ms;
    bool signals_blocked; /* in the loop thread */
    unsigned posts_late;
    unsigned values, notices, seen, passed, progresses, moved_asked;
    argus_SeriesDef value; /* the last value's series, as described */
    uint64_t value_time;
    uint64_t value_numbers[SOURCES_MAX];
    char value_source[128];
    uint32_t value_count;
    argus_Event notice;
    unsigned downs;
    uint32_t down_except;
    size_t down_size;
    uint32_t down_set_except; /* the last that named a type */
    size_t down_set_size;
    uint8_t down_set[65536];
    uint8_t down[65536];                               /* the last message */
    uint64_t seen_token, passed_token, progress_token; /* the last ones */
};

extern struct mock_runtime mock_rt;

void mock_runtime_reset(void);

/** A runtime that was neither made nor opened, for tests of the bridge. */
struct runtime *mock_runtime_get(void);

#endif
