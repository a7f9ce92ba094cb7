#include "ops/cuda/plans.h"

#include "base/limits.h"
#include "ops/cuda/hash.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct file_header {
    char magic[8];
    uint32_t plan_bytes, plans;
    char identity[CUDA_IDENTITY_BYTES]; /* then zeros */
} file_header;

static const char MAGIC[8] = "DRPLANS2"; /* the digit is the format's version */

_Static_assert(sizeof(cuda_plan) == 192, "no padding: they are in files");

static size_t file_bytes(size_t plans)
{
    return sizeof(file_header) + plans * sizeof(cuda_plan) + sizeof(uint64_t);
}

/* --- the table ------------------------------------------------------------------------- */

cuda_plan cuda_plan_of(cuda_plan_kind kind, const void *way, size_t way_bytes, const void *choice,
                       size_t choice_bytes)
{
    cuda_plan plan = { .kind = kind };

    dr_assert(way_bytes <= sizeof(plan.way) && choice_bytes <= sizeof(plan.choice));
    memcpy(plan.way, way, way_bytes);
    memcpy(plan.choice, choice, choice_bytes);
    return plan;
}

static cuda_plan *find(const cuda_plans *p, const cuda_plan *plan)
{
    for (size_t i = 0; i < p->count; i++)
        if (p->plan[i].kind == plan->kind && memcmp(p->plan[i].way, plan->way, sizeof(plan->way)) == 0)
            return &p->plan[i];
    return NULL;
}

const void *cuda_plans_find(const cuda_plans *p, cuda_plan_kind kind, const void *way, size_t way_bytes)
{
    const cuda_plan wanted = cuda_plan_of(kind, way, way_bytes, "", 0), *plan = find(p, &wanted);

    return plan ? plan->choice : NULL;
}

/* Appends a plan.  False: there is no room. */
static bool append(cuda_plans *p, const cuda_plan *plan)
{
    if (p->count == p->room) {
        const size_t room = p->room ? 2 * p->room : 64;
        cuda_plan *more = room <= DR_CUDA_PLANS_MAX ? realloc(p->plan, room * sizeof(*more)) : NULL;
        if (!more)
            return false;
        p->plan = more;
        p->room = room;
    }
    p->plan[p->count++] = *plan;
    dr_assert(p->count <= p->room && p->room <= DR_CUDA_PLANS_MAX);
    return true;
}

/* --- reading --------------------------------------------------------------------------- */

/* Reads a whole file.  DR_ENOTFOUND: there is no such file.  If it is a pipe or a device, this does not
 * wait for it. */
static dr_status read_file(const char *path, char **bytes, size_t *size, dr_error *err)
{
    const int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    const size_t most = file_bytes(DR_CUDA_PLANS_MAX);
    struct stat st;
    ssize_t n = 0;
    dr_status rc = DR_OK;

    *bytes = NULL;
    *size = 0;
    if (fd < 0 && errno == ENOENT)
        return DR_ENOTFOUND;
    if (fd < 0 || fstat(fd, &st))
        rc = dr_fail_errno(err, DR_EIO, "%s", path);
    else if (!S_ISREG(st.st_mode))
        rc = dr_fail(err, DR_EFORMAT, "%s: not a file", path);
    else if (!(*bytes = malloc(most + 1)))
        rc = dr_fail(err, DR_ENOMEM, "%s: no memory to read it", path);
    while (!rc && *size <= most && (n = read(fd, *bytes + *size, most + 1 - *size)) > 0)
        *size += (size_t)n;
    if (!rc && n < 0)
        rc = dr_fail_errno(err, DR_EIO, "%s", path);
    if (fd >= 0)
        close(fd);
    return rc;
}

static dr_status check_file(const cuda_plans *p, const char *bytes, size_t size, file_header *header,
                            dr_error *err)
{
    uint64_t checksum;

    if (size < file_bytes(0) || memcmp(bytes, MAGIC, sizeof(MAGIC)) != 0)
        return dr_fail(err, DR_EFORMAT, "%s: not a file of plans", p->path);
    memcpy(header, bytes, sizeof(*header));
    if (header->plan_bytes != sizeof(cuda_plan) || header->plans > DR_CUDA_PLANS_MAX ||
        size != file_bytes(header->plans))
        return dr_fail(err, DR_EFORMAT, "%s: %zu bytes are too few or too many", p->path, size);
    memcpy(&checksum, bytes + size - sizeof(checksum), sizeof(checksum));
    if (checksum != cuda_hash(0, bytes, size - sizeof(checksum)))
        return dr_fail(err, DR_EFORMAT, "%s: damaged: its checksum is another", p->path);
    if (memcmp(header->identity, p->identity, sizeof(p->identity)) != 0)
        return dr_fail(err, DR_EFORMAT, "%s: of another device or other libraries", p->path);
    return DR_OK;
}

/* Takes over the plans that the file has and the table does not have. */
static dr_status merge(cuda_plans *p, dr_error *err)
{
    file_header header;
    char *bytes;
    size_t size;
    dr_status rc = read_file(p->path, &bytes, &size, err);

    if (!rc)
        rc = check_file(p, bytes, size, &header, err);
    for (size_t i = 0; !rc && i < header.plans; i++) {
        cuda_plan plan;
        memcpy(&plan, bytes + sizeof(header) + i * sizeof(plan), sizeof(plan));
        if (!find(p, &plan) && !append(p, &plan))
            break;
    }
    free(bytes);
    return rc == DR_ENOTFOUND ? DR_OK : rc;
}

/* --- writing ----------------------------------------------------------------------------- */

static bool write_all(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        const ssize_t n = write(fd, bytes, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return false;
        bytes += n;
        size -= (size_t)n;
    }
    return true;
}

/* Does not wait until the file is on the disk: if a power cut damages it, the checksum shows it. */
static dr_status replace_file(const char *path, const char *bytes, size_t size, dr_error *err)
{
    char part[PATH_MAX + 8];
    bool written;
    int fd;

    snprintf(part, sizeof(part), "%s.XXXXXX", path);
    fd = mkostemp(part, O_CLOEXEC);
    if (fd < 0)
        return dr_fail_errno(err, DR_EIO, "%s", part);
    written = write_all(fd, bytes, size) && !fchmod(fd, 0644); /* another user's worker may read it */
    if (!close(fd) && written && !rename(part, path))
        return DR_OK;
    const dr_status rc = dr_fail_errno(err, DR_EIO, "%s", path);
    unlink(part);
    return rc;
}

static dr_status save(const cuda_plans *p, dr_error *err)
{
    const size_t size = file_bytes(p->count), checked = size - sizeof(uint64_t);
    file_header header = { .plan_bytes = sizeof(cuda_plan), .plans = (uint32_t)p->count };
    char *bytes = malloc(size);
    uint64_t checksum;
    dr_status rc;

    if (!bytes)
        return dr_fail(err, DR_ENOMEM, "%s: no memory to write it", p->path);
    memcpy(header.magic, MAGIC, sizeof(MAGIC));
    memcpy(header.identity, p->identity, sizeof(header.identity));
    memcpy(bytes, &header, sizeof(header));
    memcpy(bytes + sizeof(header), p->plan, p->count * sizeof(cuda_plan));
    checksum = cuda_hash(0, bytes, checked);
    memcpy(bytes + checked, &checksum, sizeof(checksum));
    rc = replace_file(p->path, bytes, size, err);
    free(bytes);
    return rc;
}

/* --- open, add, close ---------------------------------------------------------------------- */

static dr_status make_folders(const char *folder, dr_error *err)
{
    char path[PATH_MAX];
    struct stat st;

    snprintf(path, sizeof(path), "%s", folder);
    for (char *c = path + 1; *c; c++)
        if (*c == '/') {
            *c = 0;
            mkdir(path, 0777); /* if a folder above can't be made, making the last one fails too */
            *c = '/';
        }
    if (mkdir(path, 0777) && errno != EEXIST)
        return dr_fail_errno(err, DR_EIO, "%s", folder);
    if (stat(path, &st) || !S_ISDIR(st.st_mode))
        return dr_fail(err, DR_EIO, "%s: not a folder", folder);
    return access(path, W_OK | X_OK) ? dr_fail_errno(err, DR_EIO, "%s", folder) : DR_OK;
}

/* Makes the file's name: the identity, without characters that a name should not have. */
static bool name_file(cuda_plans *p, const char *folder)
{
    char name[CUDA_IDENTITY_BYTES];

    memcpy(name, p->identity, sizeof(name));
    for (char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c) && !strchr(".-_", *c))
            *c = '_';
    return snprintf(p->path, sizeof(p->path), "%s/%s.plans", folder, name) < (int)sizeof(p->path);
}

dr_status cuda_plans_open(cuda_plans *p, const char *folder, const char *identity, dr_error *err)
{
    dr_status rc;

    *p = (cuda_plans){ .plan = NULL };
    snprintf(p->identity, sizeof(p->identity), "%s", identity);
    if (!folder || !*folder)
        return DR_OK;
    rc = name_file(p, folder) ? make_folders(folder, err) : dr_fail(err, DR_EINVAL, "%s: too long", folder);
    if (rc) {
        *p->path = 0;
        return rc;
    }
    return merge(p, err);
}

void cuda_plans_close(cuda_plans *p)
{
    free(p->plan);
    *p = (cuda_plans){ .plan = NULL };
}

dr_status cuda_plans_add(cuda_plans *p, const cuda_plan *plan, dr_error *err)
{
    cuda_plan *known = find(p, plan);
    dr_status rc;

    if (known)
        *known = *plan;
    else if (!append(p, plan)) {
        if (p->count == 0)
            return dr_fail(err, DR_ENOMEM, "no memory for a kernel's plan");
        p->plan[p->oldest++ % p->count] = *plan;
    }
    if (!*p->path)
        return DR_OK;
    merge(p, NULL); /* if the file was damaged meanwhile, it is written anew */
    rc = save(p, err);
    if (rc)
        *p->path = 0; /* the error is reported once, and this table does not try to write again */
    return rc;
}
