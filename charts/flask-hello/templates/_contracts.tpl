{{/*
What values.schema.json can't say: rules across values. They hold for everyone who installs the chart, by whatever tool.
All broken ones are told at once; each message names the value to change.
*/}}
{{- define "flask-hello.contracts" -}}
{{- $problems := list -}}

{{- /* A release name may start with a digit, a Service's name may not. */ -}}
{{- if regexMatch "^[0-9]" .Release.Name -}}
{{- $problems = append $problems (printf "the release name %s starts with a digit, which the name of a Service must not: choose another release name" .Release.Name) -}}
{{- end -}}

{{- /* SIGKILL must not come before the last request is answered. 5 seconds are gunicorn's own, to end its workers. */ -}}
{{- $preStop := int .Values.rollout.preStopSleepSeconds -}}
{{- $graceful := int .Values.gunicorn.gracefulTimeoutSeconds -}}
{{- $grace := int .Values.rollout.terminationGracePeriodSeconds -}}
{{- $needed := add $preStop $graceful 5 | int -}}
{{- if lt $grace $needed -}}
{{- $problems = append $problems (printf "rollout.terminationGracePeriodSeconds is %d, which would cut requests off: raise it to %d or more (rollout.preStopSleepSeconds %d + gunicorn.gracefulTimeoutSeconds %d + 5)" $grace $needed $preStop $graceful) -}}
{{- end -}}

{{- $minReady := int .Values.rollout.minReadySeconds -}}
{{- $deadline := int .Values.rollout.progressDeadlineSeconds -}}
{{- if le $deadline $minReady -}}
{{- $problems = append $problems (printf "rollout.progressDeadlineSeconds is %d, so every rollout would fail: raise it above rollout.minReadySeconds (%d)" $deadline $minReady) -}}
{{- end -}}

{{- $release := int .Values.rollout.releaseTimeoutSeconds -}}
{{- if ge $deadline $release -}}
{{- $problems = append $problems (printf "rollout.progressDeadlineSeconds is %d, so helm would give up before Kubernetes says why a rollout failed: lower it below rollout.releaseTimeoutSeconds (%d), or raise that and your helm --timeout" $deadline $release) -}}
{{- end -}}

{{- $zero := list "0" "0%" -}}
{{- if and (has (toString .Values.rollout.maxSurge) $zero) (has (toString .Values.rollout.maxUnavailable) $zero) -}}
{{- $problems = append $problems "rollout.maxSurge and rollout.maxUnavailable are both 0, so no pod could ever be replaced: set maxSurge to 1" -}}
{{- end -}}

{{- $low := int .Values.autoscaling.minReplicas -}}
{{- $high := int .Values.autoscaling.maxReplicas -}}
{{- if and .Values.autoscaling.enabled (gt $low $high) -}}
{{- $problems = append $problems (printf "autoscaling.minReplicas is %d: lower it to autoscaling.maxReplicas (%d), or raise that" $low $high) -}}
{{- end -}}

{{- $replicas := include "flask-hello.minReplicas" . | int -}}
{{- $evictable := int .Values.podDisruptionBudget.maxUnavailable -}}
{{- if and .Values.podDisruptionBudget.enabled (gt $replicas 1) (ge $evictable $replicas) -}}
{{- $problems = append $problems (printf "podDisruptionBudget.maxUnavailable is %d, so all %d pods could be evicted at once: lower it to %d or less" $evictable $replicas (sub $replicas 1)) -}}
{{- end -}}

{{- if and .Values.service.nodePort (ne .Values.service.type "NodePort") -}}
{{- $problems = append $problems (printf "service.nodePort is %d but service.type is %s: set service.type to NodePort, or service.nodePort to null" (int .Values.service.nodePort) .Values.service.type) -}}
{{- end -}}

{{- with .Values.ingress -}}
{{- if and .enabled (not .hosts) -}}
{{- $problems = append $problems "ingress.enabled is true but no host is named: set ingress.hosts" -}}
{{- end -}}
{{- $covered := list -}}
{{- range .tls }}{{ $covered = concat $covered .hosts }}{{ end -}}
{{- if .enabled -}}
{{- range $covered -}}
{{- if not (has . $.Values.ingress.hosts) -}}
{{- $problems = append $problems (printf "ingress.tls has a certificate for %s, which ingress.hosts lacks: add it there, or take it out of ingress.tls" .) -}}
{{- end -}}
{{- end -}}
{{- if eq $.Values.environment "prod" -}}
{{- range .hosts -}}
{{- if not (has . $covered) -}}
{{- $problems = append $problems (printf "ingress.hosts has %s without TLS, which is refused when environment is prod: add an entry to ingress.tls whose hosts have it" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- $problems = append $problems "httpRoute.enabled is true but no Gateway is named, so nothing would send requests: set httpRoute.parentRefs" -}}
{{- end -}}

{{- with .Values.metrics -}}
{{- $interval := int .serviceMonitor.intervalSeconds -}}
{{- $timeout := int .serviceMonitor.timeoutSeconds -}}
{{- if gt $timeout $interval -}}
{{- $problems = append $problems (printf "metrics.serviceMonitor.timeoutSeconds is %d, which Prometheus refuses: lower it to metrics.serviceMonitor.intervalSeconds (%d), or raise that" $timeout $interval) -}}
{{- end -}}
{{- if and .prometheusRule.enabled (not .serviceMonitor.enabled) -}}
{{- $problems = append $problems "metrics.prometheusRule.enabled is true but nothing is scraped, so FlaskHelloDown would fire for ever: set metrics.serviceMonitor.enabled to true" -}}
{{- end -}}
{{- end -}}

{{- /* Controllers, gateways and Prometheus live in namespaces of their own. */ -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.ingressFrom) (eq .Values.service.type "ClusterIP") -}}
{{- range $name, $enabled := dict "ingress" .Values.ingress.enabled "httpRoute" .Values.httpRoute.enabled "metrics.serviceMonitor" .Values.metrics.serviceMonitor.enabled -}}
{{- if $enabled -}}
{{- $problems = append $problems (printf "%s.enabled is true but networkPolicy lets in only pods of this namespace: name where those requests come from in networkPolicy.ingressFrom, or set networkPolicy.enabled to false" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- with .Values.secret -}}
{{- if and .create .existingSecret -}}
{{- $problems = append $problems (printf "secret.existingSecret is %s but secret.create is true: set secret.create to false to use it" .existingSecret) -}}
{{- else if and (not .create) (not .existingSecret) -}}
{{- $problems = append $problems "secret.create is false but no other Secret is named: set secret.existingSecret, or secret.create to true" -}}
{{- end -}}
{{- if and (not .create) .secretKey -}}
{{- $problems = append $problems "secret.secretKey is given but secret.create is false, so nothing would use it: put the key into your own Secret, or set secret.create to true" -}}
{{- end -}}
{{- end -}}

{{- range $index, $text := .Values.extraObjects -}}
{{- $object := tpl $text $ | fromYaml -}}
{{- if $object.Error -}}
{{- $problems = append $problems (printf "extraObjects[%d] is not one YAML map: %s" $index $object.Error) -}}
{{- else if not (and $object.apiVersion $object.kind (get ($object.metadata | default dict) "name")) -}}
{{- $problems = append $problems (printf "extraObjects[%d] lacks apiVersion, kind or metadata.name: add them" $index) -}}
{{- end -}}
{{- end -}}

{{- if and (eq .Values.environment "prod") (eq .Values.image.tag "latest") (not .Values.image.digest) -}}
{{- $problems = append $problems "image.tag is latest, which may be another image tomorrow and is refused when environment is prod: name a version, or set image.digest" -}}
{{- end -}}

{{- if eq .Values.environment "prod" -}}
{{- range $name, $value := .Values.faults -}}
{{- if $value -}}
{{- $problems = append $problems (printf "faults.%s is on: fault switches are refused when environment is prod; take it out" $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if $problems -}}
{{- fail (printf "these values do not fit together:\n- %s\n" (join "\n- " $problems)) -}}
{{- end -}}
{{- end -}}
