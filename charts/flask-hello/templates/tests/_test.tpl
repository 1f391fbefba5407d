{{/*
A pod for `helm test` that asks the Service by app.check from the service's own image:
(dict "top" . "case" "pods" "options" (list "--expect-pods" "2") "config" "name of a ConfigMap, or nothing")
*/}}
{{- define "flask-hello.test" -}}
{{- $fullname := include "flask-hello.fullname" .top -}}
apiVersion: v1
kind: Pod
metadata:
  name: {{ printf "%s-test-%s" $fullname .case | include "flask-hello.within63" }}
  labels:
    # not `server`: the Service must not send requests here
    {{- include "flask-hello.identity" (list .top "test") | nindent 4 }}
    {{- include "flask-hello.versionLabels" .top | nindent 4 }}
  annotations:
    helm.sh/hook: test
    # kept until the next test, so that its log can be read
    helm.sh/hook-delete-policy: before-hook-creation
spec:
  restartPolicy: Never
  # app.check gives up long before; a pod that can't start ends too
  activeDeadlineSeconds: 180
  serviceAccountName: {{ include "flask-hello.serviceAccountName" .top | quote }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  securityContext:
    {{- include "flask-hello.podSecurityContext" .top | nindent 4 }}
  {{- with .top.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . | quote }}
    {{- end }}
  {{- end }}
  containers:
    - name: check
      image: {{ include "flask-hello.image" .top | quote }}
      imagePullPolicy: {{ .top.Values.image.pullPolicy }}
      command:
        - python
        - -m
        - app.check
        - http://{{ $fullname }}:{{ .top.Values.service.port }}
        {{- range .options }}
        - {{ . | quote }}
        {{- end }}
      {{- with .config }}
      envFrom:
        - configMapRef:
            name: {{ . }}
      {{- end }}
      securityContext:
        {{- include "flask-hello.containerSecurityContext" .top | nindent 8 }}
      resources:
        {{- include "flask-hello.checkResources" .top | nindent 8 }}
  {{- with .top.Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .top.Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end -}}
