/* worker.h - argus_worker.so: what runs inside a worker, a stock collectd that
 * the daemon starts for one bundle. What the two say is in wire/pair.h; this is
 * the configuration that the daemon writes for it (src/runtime/worker.c):
 *
 *   Hostname    "<the daemon's>"
 *   FQDNLookup  false
 *   Interval    <the daemon's>
 *   BaseDir     "."
 *   TypesDB     "<the stock types.db>"
 *   WriteThreads 1
 *   ReadThreads  5
 *   WriteQueueLimitHigh 50000        # a value that waits takes about 1 KiB
 *   WriteQueueLimitLow  25000
 *   PluginDir  "<folder of argus_worker.so>"
 *   LoadPlugin argus_worker
 *   <Plugin argus_worker>
 *     Socket       3                 # descriptor of the socket pair
 *     Bundle       4                 # descriptor the text is read from, at 0;
 *                                    # file or memfd: it is copied and sealed
 * here Name         "web" User         "nobody"          # absent: stay whom
 * the daemon is Files        "/…/bundle"       # what @BUNDLE@ stands for;
 * absent: none PluginDir    "/usr/lib/collectd"   # of the bundle's plugins;
 * there is no # second PluginDir line outside this block Share
 * "/usr/share/collectd" # TypesDB may lie here; repeatable Allow        "*" #
 * repeatable; absent: "*" Deny         "exec"            # repeatable
 *     Loaded       "df"              # repeatable: plugins of the daemon's own,
 *                                    # which the bundle may not load as well
 *     StartTimeout 30                # seconds for configuration and init
 *     ReadTimeout  10                # seconds for each of the two read passes
 *     Processes    1024              # more processes and threads of User that
 *                                    # this worker may see; 0: no limit. Only
 *                                    # with User
 *     PluginsMax   64                # LoadPlugin lines
 *     TextMax      1048576           # bytes of text
 *   </Plugin>
 *
 * The process is started with that file (-f -C), a session of its own, its
 * working folder as current folder (User owns it), standard output and error
 * as pipes; descriptors but 0, 1, 2, Socket and Bundle closed.
 *
 * It answers in this order: HELLO, PHASE vetting, [REFUSED], PHASE
 * configuration, [FAILED], PHASE init, [FAILED], PHASE first read, [FAILED],
 * READY, PHASE run; SET, VALUE, NOTIFICATION and LOG come as they come, also
 * before READY. On STOP: PHASE stop, then BYE, then the end of the stream.
 * After REFUSED or FAILED the process ends by itself, with its whole process
 * group.
 * - FAILED in phase init: an init callback failed, or a port or socket is taken
 *   (also in phase first read); a start that takes longer than StartTimeout
 *   names the plugin that hangs. Give it a second more before killing it.
 * - READY tells of failed reads and of ERROR lines; what is tolerated is the
 *   daemon's to judge.
 * - Lines on standard error that begin with PAIR_CRASH_PREFIX or
 *   PAIR_EXIT_PREFIX (wire/pair.h) say why the stream ends without BYE.
 * - SIGTERM and SIGINT do nothing for 5 s, then they count as a STOP. */
#ifndef ARGUS_PLUGIN_WORKER_H
#define ARGUS_PLUGIN_WORKER_H

#endif
