#include "argus_config.h" /* GNU extensions */

#include <errno.h>
#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timex.h>
#include <time.h>
#include <unistd.h>

#include "cli/doctor.h"

#define DAEMON_WAIT_S 5

/* -------------------------------------------------------------- meeting */

static int ask(struct doctor *d, struct client *c, pb_size_t question,
               argus_Reply *reply, struct argus_error *err)
{
    const argus_Request request = {.which_body = question};
    argus_End end;

    (void)d;
    reply->which_body = 0;
    int rc = client_next(c, &request, cli_keep_row, reply, &end, err);
    if (rc == ARGUS_OK && end.code[0] != '\0')
        rc = argus_fail(err, ARGUS_EIO, "%.200s", end.message);
    return rc;
}

/* Why nobody answers, and what to do about it. */
static void find_silence(struct doctor *d, int rc, const char *why)
{
    struct stat st;

    doctor_find(d, "daemon", DOCTOR_BAD, "%s", why);
    if (rc == ARGUS_EDENIED)
        doctor_mend(d, "run as root, or as a member of ControlGroup");
    else if (rc == ARGUS_EIO)
        doctor_mend(d, "the daemon hangs, or is stopped: look at its log, and "
                       "restart collectd");
    else if (stat(d->cli->socket, &st) != 0)
        doctor_mend(d, "start collectd. If it runs: argus may be out of "
                       "service, and its log says why; or ControlSocket is "
                       "another one (-s)");
    else
        doctor_mend(d, "collectd has ended and left the socket: start it");
}

static void find_out_who(struct doctor *d, int fd)
{
    struct ucred who;
    socklen_t size = sizeof who;

    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &size) != 0)
        return;
    d->pid = who.pid;
    d->uid = who.uid;
}

void doctor_meet_daemon(struct doctor *d)
{
    static argus_Reply reply;
    struct argus_error err = {{0}};
    struct client c;

    client_set_wait(DAEMON_WAIT_S);
    int rc = client_open(&c, d->cli->socket, &err);
    if (rc != ARGUS_OK) {
        find_silence(d, rc, err.text);
        return;
    }
    find_out_who(d, c.fd);
    rc = ask(d, &c, argus_Request_status_tag, &reply, &err);
    if (rc == ARGUS_OK && reply.which_body == argus_Reply_status_tag) {
        d->status = reply.body.status;
        rc = ask(d, &c, argus_Request_version_tag, &reply, &err);
    }
    if (rc == ARGUS_OK && reply.which_body == argus_Reply_version_tag) {
        d->version = reply.body.version;
        d->answers = true;
    } else {
        find_silence(d, ARGUS_EIO,
                     rc != ARGUS_OK ? err.text : "the answer is no answer");
    }
    client_close(&c);
}

/* ------------------------------------------------------------- versions */

/* collectd's programming interface is the same from 5.10 to 5.12. */
static void check_collectd(struct doctor *d, const char *text)
{
    int major = 0, minor = 0;

    if (sscanf(text, "%d.%d", &major, &minor) != 2) {
        doctor_find(d, "collectd", DOCTOR_WARN,
                    "its version, \"%s\", is not "
                    "understood",
                    text);
        doctor_mend(d, "argus is made for collectd 5.10 to 5.12");
    } else if (major < 5 || (major == 5 && minor < 10)) {
        doctor_find(d, "collectd", DOCTOR_BAD, "version %s is too old", text);
        doctor_mend(d, "argus is made for collectd 5.10 to 5.12");
    } else if (major > 5 || minor > 12) {
        doctor_find(d, "collectd", DOCTOR_WARN,
                    "argus was not tried with version %s", text);
        doctor_mend(d, "argus is made for collectd 5.10 to 5.12");
    } else {
        doctor_find(d, "collectd", DOCTOR_OK, "version %s", text);
    }
}

/* "..., collectd 5.12.0, http://collectd.org/" */
static void check_program(struct doctor *d)
{
    char line[256], version[64] = "";
    FILE *f = popen("PATH=$PATH:/usr/sbin:/usr/local/sbin collectd -h "
                    "2>/dev/null </dev/null",
                    "re");

    while (f != NULL && fgets(line, sizeof line, f) != NULL)
        (void)sscanf(line, "collectd %63[^, \n]", version);
    if (f != NULL)
        (void)pclose(f);
    if (version[0] != '\0') {
        check_collectd(d, version);
        return;
    }
    doctor_find(d, "collectd", DOCTOR_WARN, "no collectd is in the path");
    doctor_mend(d, "install collectd 5.10 to 5.12, if this machine is to be a "
                   "node");
}

static void check_versions(struct doctor *d)
{
    if (strcmp(d->version.argus, ARGUS_VERSION) != 0) {
        doctor_find(d, "version", DOCTOR_WARN,
                    "the daemon runs argus %s, argusctl is %s",
                    d->version.argus, ARGUS_VERSION);
        doctor_mend(d, "restart collectd when argus was upgraded");
    }
    check_collectd(d, d->version.collectd);
}

/* ----------------------------------------------------------- its state */

static void check_state(struct doctor *d)
{
    const argus_StatusReply *s = &d->status;

    if (s->state == argus_NodeState_NODE_ISOLATED) {
        doctor_find(d, "mesh", DOCTOR_BAD,
                    "isolated: %u nodes are known and none is reached",
                    s->online + s->suspect + s->offline);
        doctor_mend(d, "look at the network and firewalls (every node must "
                       "reach the port of every other), at the key, and at "
                       "the other nodes");
    } else if (s->state == argus_NodeState_NODE_ALONE) {
        doctor_find(d, "mesh", DOCTOR_WARN, "alone: no other node is known");
        doctor_mend(d, "name a node that is there as Seed, or argusctl join "
                       "HOST");
    } else {
        doctor_find(d, "mesh", DOCTOR_OK, "%u nodes online, %u neighbors",
                    s->online, s->active);
    }
    if (s->suspect + s->offline > 0) {
        doctor_find(d, "members", DOCTOR_WARN, "%u suspect, %u offline",
                    s->suspect, s->offline);
        doctor_mend(d, "argusctl members --state offline; forget those that "
                       "are gone for good");
    }
    for (pb_size_t i = 0; i < s->quarantined_count; i++) {
        doctor_find(d, "quarantine", DOCTOR_WARN, "%s is refused: %s",
                    s->quarantined[i].name, s->quarantined[i].reason);
        doctor_mend(d, "look at that node: it runs another version, or it is "
                       "not what it claims to be");
    }
    for (pb_size_t i = 0; i < s->workers_count; i++)
        if (s->workers[i].pid == 0) {
            doctor_find(d, "workers", DOCTOR_WARN, "bundle %s %u: %s",
                        s->workers[i].bundle, s->workers[i].version,
                        s->workers[i].state);
            doctor_mend(d, "argusctl config status %s", s->workers[i].bundle);
        }
}

void doctor_check_daemon(struct doctor *d)
{
    char words[DOCTOR_TEXT_SIZE];

    if (d->answers) {
        const struct passwd *user = getpwuid(d->uid);
        doctor_find(d, "daemon", DOCTOR_OK,
                    "%s answers: argus %s, process %ld, user %s",
                    d->status.name, d->version.argus, (long)d->pid,
                    user != NULL ? user->pw_name : "unknown");
        check_versions(d);
        check_state(d);
        return;
    }
    check_program(d);
    doctor_last_words(d, words, sizeof words);
    if (words[0] != '\0') {
        doctor_find(d, "log", DOCTOR_WARN, "%s", words);
        doctor_mend(d, "that was the last trouble of argus in %.400s",
                    d->settings.log_file);
    }
}

/* ----------------------------------------------------------------- clock */

static void check_against_mesh(struct doctor *d)
{
    const argus_StatusReply *s = &d->status;

    if (s->clock_alarm) {
        doctor_find(d, "clock", DOCTOR_BAD,
                    "the wall clock is %+.3f s off the mesh's", s->offset_s);
        doctor_mend(d, "set it by NTP (chrony, systemd-timesyncd); see "
                       "argusctl clock");
    } else if (isfinite(s->offset_s)) {
        doctor_find(d, "clock", DOCTOR_OK, "%+.3f ms against the mesh",
                    s->offset_s * 1e3);
    }
}

void doctor_check_clock(struct doctor *d)
{
    struct timex t = {.modes = 0};
    const time_t sane = 1704067200; /* 2024: before argus was there */

    if (d->answers)
        check_against_mesh(d);
    if (time(NULL) < sane) {
        doctor_find(d, "clock", DOCTOR_BAD, "it is before 2024 here");
        doctor_mend(d, "set the clock");
    }
    if (adjtimex(&t) == -1)
        return; /* a container may not ask */
    if ((t.status & STA_UNSYNC) != 0) {
        doctor_find(d, "time service", DOCTOR_WARN,
                    "the kernel's clock is not synchronized");
        doctor_mend(d, "run an NTP client (chrony, systemd-timesyncd); on a "
                       "virtual machine the host may do it");
    } else {
        doctor_find(d, "time service", DOCTOR_OK,
                    "the kernel's clock is synchronized");
    }
}
