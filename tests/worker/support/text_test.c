/* Texts from outside: cut at a character, never past the room, and with nothing in them that a terminal
 * would obey. */
#include "worker/support/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

/* Copies into `room` bytes, and sees that the byte behind them is left alone. */
static void expect_copy(size_t room, const char *text, const char *expected)
{
    char to[32];

    memset(to, '#', sizeof(to));
    dr_text_copy(to, room, text, strlen(text));
    assert_string_equal(to, expected);
    assert_true(strlen(to) < room);
    for (size_t i = room; i < sizeof(to); i++)
        assert_int_equal(to[i], '#');
}

static void a_copy_is_cut_to_its_room(void **state)
{
    (void)state;
    expect_copy(1, "abcd", "");
    expect_copy(4, "abcd", "abc");
    expect_copy(5, "abcd", "abcd");
    expect_copy(6, "abcd", "abcd");
}

static void a_character_is_whole_or_not_there(void **state)
{
    (void)state;
    expect_copy(2, "\xc3\xa9", "");
    expect_copy(3, "\xc3\xa9", "\xc3\xa9");
    expect_copy(5,
                "a\xe7\x8c\xab"
                "b",
                "a\xe7\x8c\xab");
    expect_copy(4,
                "a\xe7\x8c\xab"
                "b",
                "a");
}

static void what_is_obeyed_or_no_text_is_not_copied(void **state)
{
    (void)state;
    expect_copy(16, "a\x1b[2Jb\n", "a [2Jb ");
    expect_copy(16,
                "a\xc2\x9b"
                "b",
                "a b"); /* a control of one character that begins a sequence */
    expect_copy(16,
                "a\xe2\x80\xae"
                "b",
                "a b"); /* right to left from here on */
    expect_copy(16,
                "a\xff"
                "b\xc3",
                "a?b?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_copy_is_cut_to_its_room),
        cmocka_unit_test(a_character_is_whole_or_not_there),
        cmocka_unit_test(what_is_obeyed_or_no_text_is_not_copied),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
