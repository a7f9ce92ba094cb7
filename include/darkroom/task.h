/* task.h - what a job wants made, and from what. */
#ifndef DARKROOM_TASK_H
#define DARKROOM_TASK_H

typedef enum dr_task {
    DR_TASK_TEXT_TO_IMAGE,
    DR_TASK_IMAGE_TO_IMAGE,
    DR_TASK_INPAINT,
    DR_TASK_UPSCALE
} dr_task;

#endif
