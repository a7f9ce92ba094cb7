/* Pictures: each allocation of their encoders fails in turn (tests/worker/torture.h). */
#include "tests/worker/torture.h"
#include "worker/pictures/picture.h"

typedef struct picture_attempt {
    dr_job *job;
    uint8_t rgb[FOX_SIDE * FOX_SIDE * 3];
    char sha256[65];
} picture_attempt;

static dr_status encode_picture(void *context, dr_error *err)
{
    const picture_attempt *a = context;
    dr_rendition picture;
    const dr_status rc = dr_rendition_encode(&picture, a->job, 0, "f00d", a->rgb, err);

    if (rc) {
        assert_null(picture.bytes);
        return rc;
    }
    assert_string_equal(picture.sha256, a->sha256); /* with all of its texts */
    free(picture.bytes);
    return DR_OK;
}

static void pictures_survive_any_allocation(void **state)
{
    static picture_attempt a;
    dr_rendition picture;
    dr_error err;
    (void)state;

    a.job = job_of(fox_line);
    for (int format = 0; format < DR_PICTURE_FORMATS; format++) {
        a.job->format = (dr_picture_format)format;
        if (dr_rendition_encode(&picture, a.job, 0, "f00d", a.rgb, &err))
            fail_msg("%s", err.text);
        strcpy(a.sha256, picture.sha256);
        free(picture.bytes);
        assert_true(torture(encode_picture, &a) > 20);
    }
    dr_job_free(a.job);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pictures_survive_any_allocation),
    };
    dr_error err;
    int failed;

    torture_begin(argc, argv);
    if (dr_pictures_start(&err))
        return 1;
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    dr_pictures_stop();
    return failed;
}
