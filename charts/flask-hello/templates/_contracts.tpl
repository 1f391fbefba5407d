{{/*
What values.schema.json can't say: rules across values. They hold for everyone who installs the chart, by whatever tool.
Each message names the value to change.
*/}}
{{- define "flask-hello.contracts" -}}
{{- $rollout := .Values.rollout -}}
{{- $needed := add $rollout.preStopSleepSeconds .Values.gunicorn.gracefulTimeoutSeconds 5 | int -}}
{{- if lt (int $rollout.terminationGracePeriodSeconds) $needed -}}
{{- fail (printf "rollout.terminationGracePeriodSeconds is %d: requests would be cut; raise it to %d (preStopSleepSeconds %d + gunicorn.gracefulTimeoutSeconds %d + 5) or more" (int $rollout.terminationGracePeriodSeconds) $needed (int $rollout.preStopSleepSeconds) (int .Values.gunicorn.gracefulTimeoutSeconds)) -}}
{{- end -}}
{{- if le (int $rollout.progressDeadlineSeconds) (int $rollout.minReadySeconds) -}}
{{- fail (printf "rollout.progressDeadlineSeconds is %d: raise it above rollout.minReadySeconds (%d)" (int $rollout.progressDeadlineSeconds) (int $rollout.minReadySeconds)) -}}
{{- end -}}
{{- if and (has (toString $rollout.maxSurge) (list "0" "0%")) (has (toString $rollout.maxUnavailable) (list "0" "0%")) -}}
{{- fail "rollout.maxSurge and rollout.maxUnavailable are both 0: no pod could ever be replaced; set maxSurge to 1" -}}
{{- end -}}
{{- with .Values.autoscaling -}}
{{- if and .enabled (gt (int .minReplicas) (int .maxReplicas)) -}}
{{- fail (printf "autoscaling.minReplicas is %d: lower it to autoscaling.maxReplicas (%d) or less" (int .minReplicas) (int .maxReplicas)) -}}
{{- end -}}
{{- end -}}
{{- $replicas := include "flask-hello.minReplicas" . | int -}}
{{- if and .Values.podDisruptionBudget.enabled (gt $replicas 1) (ge (int .Values.podDisruptionBudget.maxUnavailable) $replicas) -}}
{{- fail (printf "podDisruptionBudget.maxUnavailable is %d: with %d pods all of them could be evicted at once; lower it" (int .Values.podDisruptionBudget.maxUnavailable) $replicas) -}}
{{- end -}}
{{- if and .Values.service.nodePort (ne .Values.service.type "NodePort") -}}
{{- fail (printf "service.nodePort is %d but service.type is %s: set service.type to NodePort, or service.nodePort to null" (int .Values.service.nodePort) .Values.service.type) -}}
{{- end -}}
{{- if eq .Values.environment "prod" -}}
{{- range $name, $value := .Values.faults -}}
{{- if $value -}}
{{- fail (printf "faults.%s is on: fault switches are refused when environment is prod" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
