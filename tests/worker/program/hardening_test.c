/* What Debian's hardening=+all gives a program, read off ours: whoever changes flags sees here what is lost.
 *
 * In the release configuration only: a sanitizer has other checks. */
#include "worker/support/files.h"

#include <elf.h>
#include <libgen.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char path[512];
static uint8_t *file; /* the program's bytes */
static size_t file_size;

static const Elf64_Ehdr *head(void)
{
    return (const Elf64_Ehdr *)file;
}

/* The segment of that type; NULL: the program has none. */
static const Elf64_Phdr *segment(uint32_t type)
{
    const Elf64_Phdr *all = (const Elf64_Phdr *)(file + head()->e_phoff);

    for (int i = 0; i < head()->e_phnum; i++)
        if (all[i].p_type == type)
            return &all[i];
    return NULL;
}

static const Elf64_Shdr *section(const char *name)
{
    const Elf64_Shdr *all = (const Elf64_Shdr *)(file + head()->e_shoff);
    const char *names = (const char *)file + all[head()->e_shstrndx].sh_offset;

    for (int i = 0; i < head()->e_shnum; i++)
        if (strcmp(names + all[i].sh_name, name) == 0)
            return &all[i];
    fail_msg("no section %s", name);
    return NULL;
}

static uint64_t dynamic(int64_t tag)
{
    const Elf64_Phdr *s = segment(PT_DYNAMIC);

    assert_non_null(s);
    for (const Elf64_Dyn *d = (const Elf64_Dyn *)(file + s->p_offset); d->d_tag != DT_NULL; d++)
        if (d->d_tag == tag)
            return d->d_un.d_val;
    return 0;
}

/* How many symbols of .dynsym or .symtab are wanted. */
static int count_symbols(const char *table, const char *names, bool (*wanted)(const char *),
                         const Elf64_Sym **last)
{
    const Elf64_Shdr *symbols = section(table), *strings = section(names);
    int count = 0;

    for (size_t i = 0; i < symbols->sh_size / sizeof(Elf64_Sym); i++) {
        const Elf64_Sym *s = (const Elf64_Sym *)(file + symbols->sh_offset) + i;
        if (wanted((const char *)file + strings->sh_offset + s->st_name)) {
            count++;
            if (last)
                *last = s;
        }
    }
    return count;
}

static bool is_checked_call(const char *name)
{
    const size_t n = strlen(name);
    return n > 6 && strncmp(name, "__", 2) == 0 && strcmp(name + n - 4, "_chk") == 0;
}

static bool is_stack_check(const char *name)
{
    return strcmp(name, "__stack_chk_fail") == 0;
}

static bool is_main(const char *name)
{
    return strcmp(name, "main") == 0;
}

static void it_can_lie_anywhere(void **state)
{
    (void)state;
    assert_int_equal(head()->e_type, ET_DYN); /* PIE, since it has an interpreter, too */
    assert_non_null(segment(PT_INTERP));
}

static void its_tables_cannot_be_written(void **state)
{
    (void)state;
    assert_non_null(segment(PT_GNU_RELRO));
    assert_true(dynamic(DT_FLAGS) & DF_BIND_NOW || dynamic(DT_FLAGS_1) & DF_1_NOW);
}

static void its_stack_is_no_code(void **state)
{
    const Elf64_Phdr *stack = segment(PT_GNU_STACK);
    (void)state;
    assert_non_null(stack);
    assert_int_equal(stack->p_flags & PF_X, 0);
}

static void buffers_are_checked(void **state)
{
    (void)state;
    assert_int_equal(count_symbols(".dynsym", ".dynstr", is_stack_check, NULL), 1);
    assert_true(count_symbols(".dynsym", ".dynstr", is_checked_call, NULL) >= 5); /* of fortify */
}

/* endbr64: an indirect call may only land there. */
static void calls_land_where_functions_begin(void **state)
{
    static const uint8_t endbr64[] = { 0xf3, 0x0f, 0x1e, 0xfa };
    const Elf64_Shdr *text = section(".text");
    const Elf64_Sym *entry = NULL;
    (void)state;

    assert_int_equal(count_symbols(".symtab", ".strtab", is_main, &entry), 1);
    assert_memory_equal(file + text->sh_offset + (entry->st_value - text->sh_addr), endbr64, sizeof(endbr64));
}

/* orq $0, (%rsp): a page of the stack is touched before the next one is used. */
static void large_frames_are_probed(void **state)
{
    static const uint8_t probe[] = { 0x48, 0x83, 0x0c, 0x24, 0x00 };
    const Elf64_Shdr *text = section(".text");
    (void)state;
    assert_non_null(memmem(file + text->sh_offset, text->sh_size, probe, sizeof(probe)));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_can_lie_anywhere),
        cmocka_unit_test(its_tables_cannot_be_written),
        cmocka_unit_test(its_stack_is_no_code),
        cmocka_unit_test(buffers_are_checked),
        cmocka_unit_test(calls_land_where_functions_begin),
        cmocka_unit_test(large_frames_are_probed),
    };
    dr_error err;
    void *bytes;

    (void)argc;
    snprintf(path, sizeof(path), "%s/../../../darkroom", dirname(argv[0]));
    if (dr_file_read(path, (size_t)1 << 30, &bytes, &file_size, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    file = bytes;
    dr_assert(file_size > sizeof(Elf64_Ehdr) && memcmp(file, ELFMAG, SELFMAG) == 0);
    const int failed = cmocka_run_group_tests_name("hardening", tests, NULL, NULL);
    free(bytes);
    return failed;
}
