/* options.h - checks what a device was asked for against the rows of darkroom/options.h. */
#ifndef DR_OPS_OPTIONS_H
#define DR_OPS_OPTIONS_H

#include <darkroom/device.h>

/* DR_EINVAL where a choice has a value that is not among its row's names: "no storage 'f32'; there are: f16, bf16".
 * For the backends that know the choices; any thread. */
dr_status dr_device_options_check(const dr_device_options *options, dr_error *err);

#endif
