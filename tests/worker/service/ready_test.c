/* Whether a worker is ready, and what it says if not. */
#include "worker/service/ready.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static dr_error failed(const char *text)
{
    dr_error err;

    dr_fail(&err, DR_EIO, "%s", text);
    return err;
}

static void all_that_does_not_hold_is_said(void **state)
{
    const dr_error none = { .status = DR_OK };
    const struct {
        dr_ready_facts facts;
        const char *text; /* NULL: it is ready */
    } cases[] = {
        { { false, true, none, true, none, none, true, none }, NULL },
        { { false, true, failed("old"), true, failed("old"), none, true, none }, NULL }, /* it was, once */
        { { true, true, none, true, none, none, true, none }, "draining" },
        { { false, false, none, false, none, none, false, failed("x") },
          "can't take jobs: no broker answers" },
        { { false, false, failed("wrong password"), true, none, none, true, none },
          "can't take jobs: no broker answers: wrong password" },
        { { false, true, none, false, none, none, true, none }, "can't take jobs: waiting for partitions" },
        { { false, true, none, false, failed("no right"), none, true, none },
          "can't take jobs: waiting for partitions: no right" },
        { { false, true, none, true, none, failed("no folder"), true, none }, "can't draw: no folder" },
        { { false, true, none, true, none, none, false, none },
          "can't commit: the transaction coordinator does not answer" },
        { { false, true, none, true, none, none, false, failed("results: no topic") },
          "can't commit: results: no topic" },
        { { false, true, none, false, none, failed("no folder"), true, failed("no topic") },
          "can't take jobs: waiting for partitions; can't draw: no folder; can't commit: no topic" },
    };
    (void)state;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        dr_error why;
        assert_int_equal(dr_ready(&cases[i].facts, &why), cases[i].text == NULL);
        if (cases[i].text)
            assert_string_equal(why.text, cases[i].text);
        assert_int_equal(why.status != DR_OK, cases[i].text != NULL);
    }
}

static void a_long_reason_is_cut(void **state)
{
    char text[DR_ERROR_TEXT_MAX];
    dr_ready_facts facts = { .broker_up = true };
    dr_error why;
    (void)state;

    memset(text, 'x', sizeof(text));
    text[sizeof(text) - 1] = 0;
    facts.models = facts.commit = facts.group = failed(text);
    assert_false(dr_ready(&facts, &why));
    assert_int_equal(strlen(why.text), DR_ERROR_TEXT_MAX - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_does_not_hold_is_said),
        cmocka_unit_test(a_long_reason_is_cut),
    };
    return cmocka_run_group_tests_name("ready", tests, NULL, NULL);
}
