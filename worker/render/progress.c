#include "worker/render/progress.h"

#include "worker/support/log.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { BAR = 24 };
static const double TERMINAL_EVERY_S = 0.2, LINE_EVERY_S = 10;

static size_t append(char *text, size_t size, size_t used, const char *what)
{
    if (used < size)
        used += (size_t)snprintf(text + used, size - used, "%s", what);
    return used < size ? used : size - 1;
}

static size_t append_bar(char *text, size_t size, size_t used, double part)
{
    char bar[BAR + 4];
    const int full = (int)(part * BAR);

    bar[0] = '[';
    for (int i = 0; i < BAR; i++)
        bar[1 + i] = i < full ? '=' : i == full ? '>' : ' ';
    memcpy(bar + 1 + BAR, "] ", 3);
    return append(text, size, used, bar);
}

void dr_progress_rate(char *text, size_t size, long pictures, double seconds)
{
    const double each = pictures > 0 ? seconds / (double)pictures : 0;

    if (each > 2)
        snprintf(text, size, each < 10 ? "%.1f s/picture" : "%.0f s/picture", each);
    else
        snprintf(text, size, "%.1f pictures/s", seconds > 0 ? (double)pictures / seconds : 0);
}

void dr_progress_text(char *text, size_t size, bool bar, const dr_progress_state *s)
{
    const long ended = s->done + s->failed, left = s->total - s->skipped - ended;
    const double so_far = (double)ended + s->under_way; /* jobs; those under way count in part */
    char part[64], rate[48];
    size_t used = 0;

    text[0] = 0;
    if (bar && s->total > 0)
        used = append_bar(text, size, used, (so_far + (double)s->skipped) / (double)s->total);
    if (s->total > 0)
        snprintf(part, sizeof(part), "%ld/%ld", ended + s->skipped, s->total);
    else
        snprintf(part, sizeof(part), "%ld", ended + s->skipped);
    used = append(text, size, used, part);
    if (s->steps > 0) {
        snprintf(part, sizeof(part), ", step %d/%d", s->step, s->steps);
        used = append(text, size, used, part);
    }
    if (s->seconds > 0 && s->pictures > 0) {
        dr_progress_rate(rate, sizeof(rate), s->pictures, s->seconds);
        snprintf(part, sizeof(part), ", %s", rate);
        used = append(text, size, used, part);
    }
    if (so_far > 0 && (double)left > s->under_way) {
        const long seconds = (long)(s->seconds / so_far * ((double)left - s->under_way) + 0.5);
        if (seconds >= 3600)
            snprintf(part, sizeof(part), ", %ld:%02ld:%02ld left", seconds / 3600, seconds / 60 % 60,
                     seconds % 60);
        else
            snprintf(part, sizeof(part), ", %ld:%02ld left", seconds / 60, seconds % 60);
        used = append(text, size, used, part);
    }
    if (s->failed > 0) {
        snprintf(part, sizeof(part), ", %ld failed", s->failed);
        append(text, size, used, part);
    }
}

void dr_progress_bar_open(dr_progress_bar *bar)
{
    *bar = (dr_progress_bar){ .terminal = isatty(STDERR_FILENO) };
    bar->next_s = bar->terminal ? 0 : LINE_EVERY_S;
    dr_log_over_bar(bar->terminal);
}

/* Shorten the text to one line of the terminal: a longer one could not be taken away again. */
static void fit_terminal(char *text, size_t size, const dr_progress_state *state)
{
    struct winsize window;

    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) || window.ws_col == 0 || strlen(text) < window.ws_col)
        return;
    dr_progress_text(text, size, false, state);
    if (strlen(text) >= window.ws_col)
        text[window.ws_col - 1] = 0;
}

void dr_progress_bar_show(dr_progress_bar *bar, const dr_progress_state *state)
{
    char text[160];

    if (state->seconds < bar->next_s)
        return;
    bar->next_s = state->seconds + (bar->terminal ? TERMINAL_EVERY_S : LINE_EVERY_S);
    dr_progress_text(text, sizeof(text), bar->terminal, state);
    if (bar->terminal)
        fit_terminal(text, sizeof(text), state);
    if (bar->terminal)
        fprintf(stderr, "\r\033[K%s", text);
    else
        fprintf(stderr, "%s\n", text);
}

void dr_progress_bar_clear(dr_progress_bar *bar)
{
    if (!bar->terminal)
        return;
    fprintf(stderr, "\r\033[K");
    bar->next_s = 0;
}
