{{/* Name of every object: the release's, with the chart's behind it unless it is part of it already. */}}
{{- define "flask-hello.fullname" -}}
{{- /* a release's name may have dots, a Service's not */ -}}
{{- $release := .Release.Name | replace "." "-" -}}
{{- $name := contains .Chart.Name $release | ternary $release (printf "%s-%s" $release .Chart.Name) -}}
{{- include "flask-hello.within63" $name -}}
{{- end -}}

{{/* A name that a label or a Service can bear. Names that differ only in what is cut off still differ. */}}
{{- define "flask-hello.within63" -}}
{{- if le (len .) 63 -}}
{{ . }}
{{- else -}}
{{ trunc 54 . | trimSuffix "-" }}-{{ sha256sum . | trunc 8 }}
{{- end -}}
{{- end -}}

{{/* What a pod is part of, and as what: (list . "server"), (list . "test"). */}}
{{- define "flask-hello.identity" -}}
{{- $top := first . -}}
app.kubernetes.io/name: {{ $top.Chart.Name }}
app.kubernetes.io/instance: {{ $top.Release.Name | quote }}
app.kubernetes.io/component: {{ last . }}
{{- end -}}

{{/* What tells this release's servers from all other pods, for ever: selectors can't be changed. */}}
{{- define "flask-hello.selectorLabels" -}}
{{ include "flask-hello.identity" (list . "server") }}
{{- end -}}

{{/* Labels that change with the chart: on every object but the Deployment's pods, which they would restart. */}}
{{- define "flask-hello.versionLabels" -}}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "flask-hello.labels" -}}
{{ include "flask-hello.selectorLabels" . }}
{{ include "flask-hello.versionLabels" . }}
{{- end -}}

{{- define "flask-hello.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{/* The image without its name: what the service tells as its revision. */}}
{{- define "flask-hello.revision" -}}
{{ .Values.image.digest | default .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}

{{- define "flask-hello.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "flask-hello.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{/* The ConfigMap's name follows its content: other settings are another object, and pods keep those they started with. */}}
{{- define "flask-hello.configName" -}}
{{- include "flask-hello.config" . | sha256sum | trunc 8 | printf "%s-%s" (include "flask-hello.fullname" .) | include "flask-hello.within63" -}}
{{- end -}}

{{- define "flask-hello.secretName" -}}
{{- if .Values.secret.create -}}
{{ include "flask-hello.fullname" . }}
{{- else -}}
{{ .Values.secret.existingSecret }}
{{- end -}}
{{- end -}}

{{/* Pods at least: what the PodDisruptionBudget has to leave room for, and what `helm test` wants to hear from. */}}
{{- define "flask-hello.minReplicas" -}}
{{- if .Values.autoscaling.enabled }}{{ .Values.autoscaling.minReplicas }}{{ else }}{{ .Values.replicaCount }}{{ end -}}
{{- end -}}

{{/* Pod Security Standard `restricted`, the pod's half. */}}
{{- define "flask-hello.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{/* Pod Security Standard `restricted`, the container's half, and a root file system that nothing writes to. */}}
{{- define "flask-hello.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities:
  drop:
    - ALL
{{- end -}}

{{/* Enough for a short program beside the service: a test or the preflight. */}}
{{- define "flask-hello.checkResources" -}}
requests:
  cpu: 10m
  memory: 32Mi
  ephemeral-storage: 8Mi
limits:
  cpu: 500m
  memory: 128Mi
  ephemeral-storage: 32Mi
{{- end -}}

{{/* The share, in percent, that an objective in percent leaves over; without the noise of floats. */}}
{{- define "flask-hello.allowed" -}}
{{ round (subf 100 .) 6 }}
{{- end -}}

{{/* Where an alert is explained: (list . "FlaskHelloDown"). */}}
{{- define "flask-hello.runbook" -}}
{{- with (first .).Values.metrics.prometheusRule.runbookUrl -}}
runbook_url: {{ printf "%s#%s" . (last $ | lower) | quote }}
{{- else -}}
runbook: {{ printf "docs/operations.md#%s" (last . | lower) | quote }}
{{- end -}}
{{- end -}}

{{/* A bound of a bucket as the service writes it: 1.0, not 1. */}}
{{- define "flask-hello.bucket" -}}
{{ contains "." (toString .) | ternary . (printf "%v.0" .) }}
{{- end -}}
