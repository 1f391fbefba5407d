{{/* Name of every object: the release's, with the chart's behind it unless it is part of it already. */}}
{{- define "flask-hello.fullname" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- /* cut the release's name, not ours: objects of long-named releases must stay apart from those of other charts */ -}}
{{- printf "%s-%s" (.Release.Name | trunc (sub 62 (len .Chart.Name) | int) | trimSuffix "-") .Chart.Name -}}
{{- end -}}
{{- end -}}

{{/* Full name with a suffix, within 63 characters. Called with (list . "suffix"). */}}
{{- define "flask-hello.named" -}}
{{- $suffix := index . 1 -}}
{{- printf "%s-%s" (include "flask-hello.fullname" (index . 0) | trunc (sub 62 (len $suffix) | int) | trimSuffix "-") $suffix -}}
{{- end -}}

{{/* What tells this release's pods from all others, for ever: selectors can't be changed. */}}
{{- define "flask-hello.selectorLabels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: server
{{- end -}}

{{/* Labels of every object but the pods, which a new chart version must not restart. */}}
{{- define "flask-hello.labels" -}}
{{ include "flask-hello.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- end -}}

{{- define "flask-hello.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "flask-hello.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{ .Values.serviceAccount.name | default (include "flask-hello.fullname" .) }}
{{- else -}}
{{ .Values.serviceAccount.name | default "default" }}
{{- end -}}
{{- end -}}

{{- define "flask-hello.secretName" -}}
{{ .Values.secret.existingSecret | default (include "flask-hello.fullname" .) }}
{{- end -}}

{{/* The key that signs cookies: given, or the one that the release has already, or a new one. */}}
{{- define "flask-hello.secretKey" -}}
{{- if .Values.secret.secretKey -}}
{{ .Values.secret.secretKey }}
{{- else -}}
{{- $existing := (lookup "v1" "Secret" .Release.Namespace (include "flask-hello.secretName" .)).data | default dict -}}
{{- get $existing "secret-key" | b64dec | default (randAlphaNum 32) -}}
{{- end -}}
{{- end -}}

{{/* Pods at least: what the PodDisruptionBudget has to leave room for. */}}
{{- define "flask-hello.minReplicas" -}}
{{- if .Values.autoscaling.enabled }}{{ .Values.autoscaling.minReplicas }}{{ else }}{{ .Values.replicaCount }}{{ end -}}
{{- end -}}

{{/* The Pod Security Standard `restricted`, for any pod of ours. */}}
{{- define "flask-hello.podSecurityContext" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "flask-hello.containerSecurityContext" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
privileged: false
capabilities:
  drop:
    - ALL
{{- end -}}
