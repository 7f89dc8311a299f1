#include "test.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "worker_text.h"
#include "worker_vet.h"

/* ------------------------------------------------------ trees from texts */

/* Enough of collectd's notation to write a tree down: a line is a key and
 * values; <Key values> opens a block, </> closes it. Words in quotes are text,
 * numbers and booleans are themselves, all else is text. What only the real
 * parser does (quoting, continuation) is tried with a real collectd, in
 * tests/e2e/scenarios_worker.py. */
static void add_value(oconfig_item_t *item, const char *word, bool quoted)
{
    oconfig_value_t value = {.type = OCONFIG_TYPE_STRING};
    char *end;

    value.value.number = strtod(word, &end);
    if (!quoted && *end == '\0')
        value.type = OCONFIG_TYPE_NUMBER;
    else if (!quoted && (strcmp(word, "true") == 0 || !strcmp(word, "false")))
        value.type = OCONFIG_TYPE_BOOLEAN, value.value.boolean = word[0] == 't';
    else
        value.value.string = strdup(word);
    item->values = realloc(item->values, (size_t)(item->values_num + 1) *
                                             sizeof item->values[0]);
    item->values[item->values_num++] = value;
}

static oconfig_item_t *add_item(oconfig_item_t *parent, char *line)
{
    parent->children =
        realloc(parent->children, (size_t)(parent->children_num + 1) *
                                      sizeof parent->children[0]);
    oconfig_item_t *item = &parent->children[parent->children_num++];

    *item = (oconfig_item_t){.parent = parent};
    for (char *at = line; *at != '\0';) {
        bool quoted = *at == '"';
        char *word = at + quoted;
        size_t size = strcspn(word, quoted ? "\"" : " ");
        at = word + size + (word[size] != '\0');
        at += strspn(at, " ");
        word[size] = '\0';
        if (item->key == NULL)
            item->key = strdup(word);
        else
            add_value(item, word, quoted);
    }
    return item;
}

static oconfig_item_t *tree_of(const char *text)
{
    oconfig_item_t *root = calloc(1, sizeof *root), *at = root;
    char *copy = strdup(text), *save = NULL;

    for (char *line = strtok_r(copy, "\n", &save); line != NULL;
         line = strtok_r(NULL, "\n", &save)) {
        if (strcmp(line, "</>") == 0) {
            at = at->parent;
        } else if (line[0] == '<') {
            line[strlen(line) - 1] = '\0';
            at = add_item(at, line + 1);
        } else {
            (void)add_item(at, line);
        }
    }
    free(copy);
    return root;
}

static void free_item(oconfig_item_t *item)
{
    for (int i = 0; i < item->values_num; i++)
        if (item->values[i].type == OCONFIG_TYPE_STRING)
            free(item->values[i].value.string);
    for (int i = 0; i < item->children_num; i++)
        free_item(&item->children[i]);
    free(item->values);
    free(item->children);
    free(item->key);
}

/* ---------------------------------------------------------------- set-up */

static const char *const deny_default[] = {"exec", "python", "perl", "lua",
                                           "java"};
static const char *const any[] = {"*"};
static const char *const loaded[] = {"memory"};

/* A folder of shared files and one of the bundle, both with a types.db; links
 * in the latter lead outside. */
static char base[64], share[96], files[96], secret[96];
static const char *shares[1] = {share};

static void write_file(const char *folder, const char *name)
{
    char path[256];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = fopen(path, "w");
    CU_ASSERT_PTR_NOT_NULL_FATAL(f);
    fclose(f);
}

static void link_to(const char *target, const char *folder, const char *name)
{
    char path[256];

    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    CU_ASSERT_EQUAL_FATAL(symlink(target, path), 0);
}

static void make_folders(void)
{
    char path[160];

    (void)snprintf(base, sizeof base, "/tmp/argus-vet-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(base));
    (void)snprintf(share, sizeof share, "%s/share", base);
    (void)snprintf(files, sizeof files, "%s/bundle", base);
    (void)snprintf(secret, sizeof secret, "%s/secret", base);
    (void)snprintf(path, sizeof path, "%s/sharelike", base);
    CU_ASSERT_EQUAL_FATAL(mkdir(share, 0700), 0);
    CU_ASSERT_EQUAL_FATAL(mkdir(files, 0700), 0);
    CU_ASSERT_EQUAL_FATAL(mkdir(path, 0700), 0);
    write_file(share, "types.db");
    write_file(files, "types.db");
    write_file(path, "types.db");
    write_file(base, "secret");
    link_to(secret, files, "link");
    link_to("..", files, "up");
    link_to("types.db", files, "inside");
}

static void remove_folders(void)
{
    static const char *const names[] = {
        "share/types.db", "bundle/types.db", "sharelike/types.db", "secret",
        "bundle/link",    "bundle/up",       "bundle/inside",      "share",
        "bundle",         "sharelike"};
    char path[256];

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        (void)snprintf(path, sizeof path, "%s/%s", base, names[i]);
        (void)remove(path);
    }
    CU_ASSERT_EQUAL(rmdir(base), 0);
}

static struct vet_rules rules_of(void)
{
    return (struct vet_rules){
        .allow = any,
        .allow_count = 1,
        .deny = deny_default,
        .deny_count = 5,
        .loaded = loaded,
        .loaded_count = 1,
        .shares = shares,
        .shares_count = 1,
        .files = files,
        .plugins_max = 3,
    };
}

/* Put the folders in place of %S (share), %F (files), %B (base). */
static void fill_in(const char *text, char *out, size_t size)
{
    size_t used = 0;

    for (; *text != '\0' && used + 1 < size; text++) {
        const char *put = NULL;
        if (text[0] == '%' && text[1] != '\0')
            put = text[1] == 'S'   ? share
                  : text[1] == 'F' ? files
                  : text[1] == 'B' ? base
                                   : NULL;
        if (put != NULL) {
            used += (size_t)snprintf(out + used, size - used, "%s", put);
            text++;
        } else {
            out[used++] = *text;
        }
    }
    out[used] = '\0';
}

static int judge(const char *text, const struct vet_rules *rules,
                 struct vet_found *found, struct argus_error *err)
{
    char whole[4096];

    fill_in(text, whole, sizeof whole);
    oconfig_item_t *root = tree_of(whole);
    int rc = vet_tree(root, rules, found, err);
    free_item(root);
    free(root);
    return rc;
}

/* -------------------------------------------------------------- attempts */

/* What gets in, and what does not, with a piece of the answer. */
static const struct {
    const char *text;
    const char *why; /* NULL: it may stand there */
} attempts[] = {
    /* what a bundle is for */
    {"LoadPlugin df\nLoadPlugin load", NULL},
    {"LoadPlugin \"df\"", NULL},
    {"loadplugin df", NULL},
    {"<LoadPlugin df>\nInterval 5\n</>", NULL},
    {"<LoadPlugin df>\nGlobals true\nFlushInterval 5\nFlushTimeout 9\n</>",
     NULL},
    {"LoadPlugin df\n<Plugin df>\nMountPoint \"/\"\n</>", NULL},
    {"LoadPlugin df\n<Plugin df>\n</>", NULL},
    {"<Plugin snmp>\n<Data x>\nType \"y\"\n</>\n</>", NULL},
    {"LoadPlugin match_regex\n<Chain \"PreCache\">\n<Rule \"r\">\n<Match "
     "\"regex\">\nPlugin \"^df$\"\n</>\nTarget \"stop\"\n</>\n</>",
     NULL},
    {"<Chain \"PostCache\">\n<Target write>\nPlugin argus_worker\n</>\n</>",
     NULL},
    {"PreCacheChain \"Mine\"\nLoadPlugin df", NULL},
    {"PostCacheChain \"Mine\"", NULL},
    {"Interval 0.5", NULL},
    {"Interval \"10\"", NULL},
    {"Timeout 2", NULL},
    {"ReadThreads 1", NULL},
    {"ReadThreads \"64\"", NULL},
    {"WriteThreads 16", NULL},
    {"TypesDB \"%S/types.db\"", NULL},
    {"TypesDB \"%F/types.db\"", NULL},
    {"TypesDB \"%S/types.db\" \"%F/types.db\"", NULL},
    {"TypesDB \"%F/inside\"", NULL},
    /* plugins that are denied, by every way there is */
    {"LoadPlugin exec", "LoadPlugin \"exec\": this node denies \"exec\", \"py"},
    {"LoadPlugin \"exec\"", "denies"},
    {"LoadPlugin EXEC", "denies"},
    {"LOADPLUGIN Exec", "denies"},
    {"<LoadPlugin exec>\nInterval 5\n</>", "denies"},
    {"<LoadPlugin exec>\n</>", "denies"},
    {"LoadPlugin df\nLoadPlugin python", "denies"},
    {"LoadPlugin perl", "denies"},
    {"LoadPlugin lua", "denies"},
    {"LoadPlugin java", "denies"},
    {"<Plugin exec>\nExec \"nobody\" \"/bin/true\"\n</>", "denies"},
    {"Plugin exec", "denies"},
    {"<Plugin \"ExEc\">\nExec \"nobody\" \"/bin/true\"\n</>", "denies"},
    {"<plugin python>\nModulePath \"/tmp\"\n</>", "denies"},
    {"LoadPlugin argus", "argus itself"},
    {"LoadPlugin ARGUS", "argus itself"},
    {"LoadPlugin argus_worker", "argus itself"},
    {"<LoadPlugin \"Argus_Worker\">\nInterval 1\n</>", "argus itself"},
    {"<Plugin argus_worker>\nSocket 3\n</>", "argus itself"},
    {"<Plugin argus>\nRole aggregator\n</>", "argus itself"},
    {"<Chain x>\n<Rule>\n<Match argus_worker>\nA 1\n</>\nTarget stop\n</>\n</>",
     "argus itself"},
    {"LoadPlugin memory", "this node's own configuration loads it"},
    {"LoadPlugin MEMORY", "this node's own configuration loads it"},
    /* names that are none */
    {"LoadPlugin \"../../tmp/evil\"", "a plugin's name is"},
    {"LoadPlugin \"/tmp/evil\"", "a plugin's name is"},
    {"LoadPlugin \"./exec\"", "a plugin's name is"},
    {"LoadPlugin \"exec.so\"", "a plugin's name is"},
    {"LoadPlugin \"exec \"", "a plugin's name is"},
    {"LoadPlugin \"\"", "a plugin's name is"},
    {"LoadPlugin \"d\x66\xc3\xa9\"", "a plugin's name is"},
    {"LoadPlugin "
     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
     "aaaaaaaaaaaaaaaaaaa\"",
     "at most 63"},
    {"LoadPlugin", "needs the name of one plugin"},
    {"LoadPlugin 5", "needs the name of one plugin"},
    {"LoadPlugin df exec", "needs the name of one plugin"},
    {"Plugin 5", "needs the name of a plugin"},
    {"<Plugin>\nA 1\n</>", "needs the name of a plugin"},
    {"LoadPlugin df\nLoadPlugin load\nLoadPlugin cpu\nLoadPlugin swap",
     "one plugin too many; 3"},
    {"<LoadPlugin df>\nAutoLoadPlugin true\n</>", "allowed in a LoadPlugin"},
    {"<LoadPlugin df>\nInterval 0\n</>", "from 0.01"},
    /* what is not for a bundle to set */
    {"Include \"/etc/collectd/collectd.conf.d\"", "includes no files"},
    {"include \"/etc/passwd\"", "includes no files"},
    {"<Include \"/etc/collectd\">\nFilter \"*.conf\"\n</>",
     "includes no files"},
    {"<Plugin df>\nInclude \"/etc/passwd\"\n</>", "includes no files"},
    {"<Chain x>\n<Rule>\nInclude \"/x\"\n</>\n</>", "includes no files"},
    {"PluginDir \"/tmp\"", "PluginDir \"/tmp\": may not stand in a bundle"},
    {"plugindir \"/tmp\"\nLoadPlugin evil", "LoadPlugin, Plugin, Chain, PreCa"},
    {"AutoLoadPlugin true\n<Plugin df>\nA 1\n</>", "may not stand"},
    {"BaseDir \"/\"", "may not stand"},
    {"PIDFile \"/tmp/x\"", "may not stand"},
    {"Hostname \"other\"", "may not stand"},
    {"FQDNLookup true", "may not stand"},
    {"CollectInternalStats true", "may not stand"},
    {"MaxReadInterval 5", "may not stand"},
    {"WriteQueueLimitHigh 0", "may not stand"},
    {"Nonsense 5", "may not stand"},
    {"<Nonsense>\nA 1\n</>", "may not stand"},
    {"Module \"x\"", "may not stand"},
    {"ReadThreads -1", "a whole number from 1 to 64"},
    {"ReadThreads 0", "a whole number from 1 to 64"},
    {"ReadThreads 65", "a whole number from 1 to 64"},
    {"ReadThreads 2.5", "a whole number"},
    {"ReadThreads \"-1\"", "a whole number"},
    {"ReadThreads \"5 -1\"", "a whole number"},
    {"ReadThreads \"nan\"", "a whole number"},
    {"ReadThreads", "a whole number"},
    {"ReadThreads 1 2", "a whole number"},
    {"WriteThreads 0", "a whole number from 1 to 16"},
    {"WriteThreads 1000", "a whole number from 1 to 16"},
    {"Interval 0", "from 0.01"},
    {"Interval -5", "from 0.01"},
    {"Interval \"soon\"", "from 0.01"},
    {"Interval \"inf\"", "from 0.01"},
    {"Timeout 1", "from 2"},
    {"<Interval 5>\nA 1\n</>", "must be a line"},
    {"<TypesDB \"%S/types.db\">\nA 1\n</>", "must be a line"},
    {"Chain \"x\"", "must be a block"},
    {"<Chain 5>\nA 1\n</>", "needs one name"},
    {"PreCacheChain", "name of one chain"},
    {"PreCacheChain \"\"", "name of one chain"},
    {"PreCacheChain 5", "name of one chain"},
    /* files that TypesDB would read without complaint */
    {"TypesDB \"/etc/shadow\"", "must be a file that is there, below"},
    {"typesdb \"/etc/shadow\"", "must be a file"},
    {"TypesDB \"%B/secret\"", "must be a file"},
    {"TypesDB \"%S/../secret\"", "must be a file"},
    {"TypesDB \"%F/../secret\"", "must be a file"},
    {"TypesDB \"%F/./../secret\"", "must be a file"},
    {"TypesDB \"%F/x/../types.db\"", "must be a file"},
    {"TypesDB \"%F/link\"", "must be a file"},
    {"TypesDB \"%F/up/secret\"", "must be a file"},
    {"TypesDB \"%B/sharelike/types.db\"", "must be a file"},
    {"TypesDB \"%S\"", "must be a file"},
    {"TypesDB \"%F/\"", "must be a file"},
    {"TypesDB \"%S/none\"", "must be a file"},
    {"TypesDB \"types.db\"", "must be a file"},
    {"TypesDB \"./types.db\"", "must be a file"},
    {"TypesDB \"\"", "must be a file"},
    {"TypesDB \"/proc/self/environ\"", "must be a file"},
    {"TypesDB \"/dev/zero\"", "must be a file"},
    {"TypesDB \"%S/types.db\" \"/etc/shadow\"", "must be a file"},
    {"TypesDB 5", "in quotes"},
    {"TypesDB", "needs the name of a file"},
    /* nothing at all */
    {"", "there is nothing in it"},
};

/* Goal: what may stand in a bundle passes, all else is refused with the line
 * and what may stand there. */
static void test_vet_attempts(void)
{
    struct vet_rules rules = rules_of();

    make_folders();
    rules = rules_of();
    for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++) {
        struct argus_error err = {{0}};
        struct vet_found found;
        int rc = judge(attempts[i].text, &rules, &found, &err);
        bool is_right = attempts[i].why == NULL
                            ? rc == ARGUS_OK
                            : rc == ARGUS_EDENIED &&
                                  strstr(err.text, attempts[i].why) != NULL;
        if (!is_right)
            printf("\n    %s\n    -> %d %s\n", attempts[i].text, rc, err.text);
        CU_ASSERT_TRUE(is_right);
    }
    remove_folders();
}

/* Goal: Allow and Deny of a node, alone and together; "libvirt" is the plugin
 * virt for collectd. */
static void test_vet_allow_and_deny(void)
{
    static const char *const few[] = {"df", "Load", "virt"};
    static const char *const none[] = {""};
    static const char *const old[] = {"virt"};
    struct vet_rules rules = rules_of();
    struct argus_error err;
    struct vet_found found;

    rules.allow = few;
    rules.allow_count = 3;
    CU_ASSERT_EQUAL(judge("LoadPlugin DF", &rules, &found, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(judge("LoadPlugin load", &rules, &found, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(judge("LoadPlugin libvirt", &rules, &found, &err),
                    ARGUS_OK);
    CU_ASSERT_EQUAL(judge("LoadPlugin cpu", &rules, &found, &err),
                    ARGUS_EDENIED);
    CU_ASSERT_STRING_EQUAL(err.text, "LoadPlugin \"cpu\": this node allows "
                                     "\"df\", \"Load\", \"virt\"");
    CU_ASSERT_EQUAL(judge("LoadPlugin exec", &rules, &found, &err),
                    ARGUS_EDENIED);
    rules.allow_count = 0;
    rules.deny = none;
    rules.deny_count = 1;
    CU_ASSERT_EQUAL(judge("LoadPlugin exec", &rules, &found, &err), ARGUS_OK);
    CU_ASSERT_EQUAL(judge("LoadPlugin argus", &rules, &found, &err),
                    ARGUS_EDENIED);
    rules.deny = old;
    CU_ASSERT_EQUAL(judge("LoadPlugin libvirt", &rules, &found, &err),
                    ARGUS_EDENIED);
    CU_ASSERT_EQUAL(judge("<Plugin libvirt>\nA 1\n</>", &rules, &found, &err),
                    ARGUS_EDENIED);
    rules.allow = any; /* does not lift a Deny */
    rules.allow_count = 1;
    CU_ASSERT_EQUAL(judge("LoadPlugin virt", &rules, &found, &err),
                    ARGUS_EDENIED);
}

/* Goal: without folders of its own, a bundle names no file; a bundle's folder
 * may be spelled by way of the current one. */
static void test_vet_types_folders(void)
{
    struct vet_rules rules;
    struct vet_found found;
    struct argus_error err;
    char before[256];

    make_folders();
    rules = rules_of();
    rules.files = "";
    CU_ASSERT_EQUAL(judge("TypesDB \"%F/types.db\"", &rules, &found, &err),
                    ARGUS_EDENIED);
    rules.shares_count = 0;
    CU_ASSERT_EQUAL(judge("TypesDB \"%S/types.db\"", &rules, &found, &err),
                    ARGUS_EDENIED);

    CU_ASSERT_PTR_NOT_NULL_FATAL(getcwd(before, sizeof before));
    CU_ASSERT_EQUAL_FATAL(chdir(share), 0);
    rules.files = "/proc/self/cwd/../bundle";
    CU_ASSERT_EQUAL(judge("TypesDB \"/proc/self/cwd/../bundle/types.db\"",
                          &rules, &found, &err),
                    ARGUS_OK);
    CU_ASSERT_EQUAL(judge("TypesDB \"/proc/self/cwd/../bundle/../secret\"",
                          &rules, &found, &err),
                    ARGUS_EDENIED);
    CU_ASSERT_EQUAL_FATAL(chdir(before), 0);
    remove_folders();
}

/* Goal: depth is bounded, and the first chain is found: the last line wins. */
static void test_vet_depth_and_chain(void)
{
    struct vet_rules rules = rules_of();
    struct vet_found found;
    struct argus_error err;
    char text[2048] = "";

    for (int i = 0; i < VET_DEPTH_MAX; i++)
        (void)strcat(text, i == 0 ? "<Plugin df>\n" : "<X>\n");
    CU_ASSERT_EQUAL(judge(text, &rules, &found, &err), ARGUS_OK);
    CU_ASSERT_STRING_EQUAL(found.pre_cache_chain, "PreCache");
    for (int i = 0; i < 50; i++)
        (void)strcat(text, "<Y>\n");
    CU_ASSERT_EQUAL(judge(text, &rules, &found, &err), ARGUS_EDENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "nested deeper than 16"));

    CU_ASSERT_EQUAL(
        judge("PreCacheChain \"A\"\nprecachechain \"B\"", &rules, &found, &err),
        ARGUS_OK);
    CU_ASSERT_STRING_EQUAL(found.pre_cache_chain, "B");
}

/* Goal: what a line says cannot break the text of a refusal. */
static void test_vet_texts_are_clean(void)
{
    struct vet_rules rules = rules_of();
    struct vet_found found;
    struct argus_error err;
    char text[4000];

    (void)snprintf(text, sizeof text, "Evil\x1b[2J \"%02000d\" true 5", 1);
    CU_ASSERT_EQUAL(judge(text, &rules, &found, &err), ARGUS_EDENIED);
    CU_ASSERT_PTR_NULL(strchr(err.text, '\x1b'));
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "WriteThreads"));
}

/* Goal: size, binary bytes and long lines are seen before the parser runs. */
static void test_vet_bytes(void)
{
    struct argus_error err;
    size_t size = 70000;
    char *line = malloc(size + 1);

    CU_ASSERT_EQUAL(vet_text("LoadPlugin df\r\n\tx\n", 17, 100, "b", &err),
                    ARGUS_OK);
    CU_ASSERT_EQUAL(vet_text("a\nb\0c\n", 6, 100, "b", &err), ARGUS_EDENIED);
    CU_ASSERT_STRING_EQUAL(err.text,
                           "line 2 of \"b\" is no text: it has the byte 0x00");
    CU_ASSERT_EQUAL(vet_text("\x7f"
                             "ELF",
                             4, 100, "b", &err),
                    ARGUS_EDENIED);
    CU_ASSERT_EQUAL(vet_text("0123456789", 10, 9, "b", &err), ARGUS_EDENIED);
    CU_ASSERT_STRING_EQUAL(err.text, "the text of \"b\" has 10 bytes; at most "
                                     "9 are allowed");
    memset(line, '#', size);
    line[size] = '\0';
    CU_ASSERT_EQUAL(vet_text(line, size, size, "b", &err), ARGUS_EDENIED);
    CU_ASSERT_PTR_NOT_NULL(strstr(err.text, "line 1 of \"b\" is longer"));
    line[size / 2] = '\n';
    CU_ASSERT_EQUAL(vet_text(line, size, size, "b", &err), ARGUS_OK);
    free(line);
}

static struct worker_text text_of(const char *bytes)
{
    return (struct worker_text){.bytes = strdup(bytes), .size = strlen(bytes)};
}

/* Goal: each @BUNDLE@ is replaced, within the bound; a bundle without files has
 * none; what is sealed is what was there and stays. */
static void test_vet_bundle_word(void)
{
    struct worker_text text = text_of("a @BUNDLE@/x @BUNDLE@@BUNDLE@ @BUNDLE");
    struct argus_error err;

    CU_ASSERT_EQUAL(text_replace(&text, "/f", 100, &err), ARGUS_OK);
    CU_ASSERT_STRING_EQUAL(text.bytes, "a /f/x /f/f @BUNDLE");
    CU_ASSERT_EQUAL(text.size, strlen(text.bytes));
    CU_ASSERT_EQUAL(text_replace(&text, "", 100, &err), ARGUS_OK);
    text_free(&text);

    text = text_of("@BUNDLE@@BUNDLE@");
    CU_ASSERT_EQUAL(text_replace(&text, "", 100, &err), ARGUS_EDENIED);
    CU_ASSERT_EQUAL(text_replace(&text, "/0123456789", 21, &err),
                    ARGUS_EDENIED);
    CU_ASSERT_EQUAL(text_replace(&text, "/0123456789", 22, &err), ARGUS_OK);

    int fd = text_seal(&text, &err);
    CU_ASSERT_TRUE_FATAL(fd >= 0);
    struct worker_text read_back;
    CU_ASSERT_EQUAL(text_read(fd, 21, &read_back, &err), ARGUS_EDENIED);
    CU_ASSERT_EQUAL_FATAL(text_read(fd, 22, &read_back, &err), ARGUS_OK);
    CU_ASSERT_STRING_EQUAL(read_back.bytes, "/0123456789/0123456789");
    CU_ASSERT_EQUAL(pwrite(fd, "x", 1, 0), -1);
    CU_ASSERT_EQUAL(ftruncate(fd, 0), -1);
    CU_ASSERT_EQUAL(close(fd), 0);
    text_free(&read_back);
    text_free(&text);
}

CU_TestInfo suite_worker_vet[] = {
    {"attempts", test_vet_attempts},
    {"allow and deny", test_vet_allow_and_deny},
    {"folders of types", test_vet_types_folders},
    {"depth and first chain", test_vet_depth_and_chain},
    {"texts are clean", test_vet_texts_are_clean},
    {"bytes", test_vet_bytes},
    {"@BUNDLE@", test_vet_bundle_word},
    CU_TEST_INFO_NULL};
