#include "bench/gpu/plays.h"

#include <stdio.h>

enum { GROUPS_MIN = 5, GROUPS_MAX = 200, PLAYS_MAX = 1000 };

static const double GROUP_SECONDS = 0.1; /* a thousand times what waiting costs */

static void wait(bench *b, const bench_plays *w)
{
    bench_device_checksum(b, w->out, sizeof(float));
}

static double time_group(bench *b, const bench_plays *w, int plays)
{
    const double begin = bench_now();

    for (int i = 0; i < plays; i++)
        w->start(w->arg);
    wait(b, w);
    return (bench_now() - begin) / plays;
}

static double time_start(bench *b, const bench_plays *w)
{
    const double begin = bench_now();
    double seconds;

    w->start(w->arg);
    seconds = bench_now() - begin;
    wait(b, w);
    return seconds;
}

static int plays_of(double seconds)
{
    const double plays = GROUP_SECONDS / seconds;

    if (plays < 1)
        return 1;
    return plays < PLAYS_MAX ? (int)plays : PLAYS_MAX;
}

bench_played bench_time_plays(bench *b, const bench_plays *w)
{
    bench_played t = { .plays = 1 };
    double times[GROUPS_MAX], starts[GROUPS_MIN], begin;

    time_group(b, w, 1); /* the first group plans and loads kernels */
    if (!b->quick) {
        time_group(b, w, 2); /* this group records and warms up */
        t.plays = plays_of(time_group(b, w, 1));
    }
    begin = bench_now();
    do
        times[t.groups++] = time_group(b, w, t.plays);
    while (!b->quick && t.groups < GROUPS_MAX && (t.groups < GROUPS_MIN || bench_now() - begin < b->seconds));
    for (int i = 0; i < GROUPS_MIN; i++)
        starts[i] = b->quick && i ? starts[0] : time_start(b, w);
    t.seconds = bench_median(times, t.groups);
    t.min_s = times[0];
    t.max_s = times[t.groups - 1];
    t.host_s = bench_median(starts, GROUPS_MIN);
    return t;
}

json_t *bench_played_json(const bench_played *t)
{
    return json_pack("{s:f, s:f, s:f, s:f, s:i, s:i}", "seconds", t->seconds, "min_s", t->min_s, "max_s",
                     t->max_s, "host_s", t->host_s, "groups", t->groups, "plays", t->plays);
}

void bench_print_played(const bench_played *t)
{
    printf("%.3f ms (%.3f..%.3f, %d x %d)", 1e3 * t->seconds, 1e3 * t->min_s, 1e3 * t->max_s, t->groups,
           t->plays);
}
