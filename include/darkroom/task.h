/* task.h - what kind of picture a job wants, and from what it is made. */
#ifndef DARKROOM_TASK_H
#define DARKROOM_TASK_H

typedef enum dr_task {
    DR_TASK_TEXT_TO_IMAGE,
    DR_TASK_IMAGE_TO_IMAGE,
    DR_TASK_INPAINT,
    DR_TASK_UPSCALE
} dr_task;

#endif
