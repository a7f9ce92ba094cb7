/* picture_format.h - the file formats of pictures, and their names. */
#ifndef DR_WORKER_JOBS_PICTURE_FORMAT_H
#define DR_WORKER_JOBS_PICTURE_FORMAT_H

typedef enum dr_picture_format { DR_PNG, DR_JPEG, DR_WEBP, DR_PICTURE_FORMATS } dr_picture_format;

/* The format's name in a job: "png", "jpeg", "webp".  A constant. */
const char *dr_picture_format_name(dr_picture_format format);
/* Its media type: "image/png", "image/jpeg", "image/webp".  A constant. */
const char *dr_picture_media_type(dr_picture_format format);

#endif
