/* kubernetes.h - the variables that Kubernetes makes in every pod for each Service of its namespace.
 *
 * A Service `darkroom-metrics` with port 9464 makes, in a pod that may have nothing to do with it:
 *
 *     DARKROOM_METRICS_SERVICE_HOST=10.0.0.7            DARKROOM_METRICS_PORT=tcp://10.0.0.7:9464
 *     DARKROOM_METRICS_SERVICE_PORT=9464                DARKROOM_METRICS_PORT_9464_TCP=tcp://10.0.0.7:9464
 *     DARKROOM_METRICS_SERVICE_PORT_HTTP=9464           DARKROOM_METRICS_PORT_9464_TCP_PROTO=tcp
 *     (one for each port that has a name)               DARKROOM_METRICS_PORT_9464_TCP_PORT=9464
 *                                                       DARKROOM_METRICS_PORT_9464_TCP_ADDR=10.0.0.7
 *
 * They look like settings and are none. */
#ifndef DR_WORKER_SETTINGS_KUBERNETES_H
#define DR_WORKER_SETTINGS_KUBERNETES_H

#include <stdbool.h>

/* Whether "DARKROOM_..." is such a variable.  Its value has to have the form as well, so that a mistyped
 * setting (DARKROOM_HTTP_PORT=9464) is not taken for one.  Any thread. */
bool dr_kubernetes_made(const char *variable);

#endif
