/* task.h - what a job wants made, and from what. */
#ifndef DR_MODEL_TASK_H
#define DR_MODEL_TASK_H

typedef enum dr_task {
    DR_TASK_TEXT_TO_IMAGE,
    DR_TASK_IMAGE_TO_IMAGE,
    DR_TASK_INPAINT,
    DR_TASK_UPSCALE,
} dr_task;

#endif
