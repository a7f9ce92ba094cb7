/* options.h - checks what a device was asked for against the rows of darkroom/options.h. */
#ifndef DR_OPS_OPTIONS_H
#define DR_OPS_OPTIONS_H

#include <darkroom/device.h>

/* Fails with DR_EINVAL where a choice is not one of its row's names: "no storage 'f32'; there are: f16,
 * bf16".  For a backend that uses the choices.  Any thread may call it. */
dr_status dr_device_options_check(const dr_device_options *options, dr_error *err);

#endif
