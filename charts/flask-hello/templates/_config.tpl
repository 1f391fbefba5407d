{{/* The service's settings. The pods carry their checksum, so nothing belongs here that changes by itself. */}}
{{- define "flask-hello.config" -}}
APP_ENVIRONMENT: {{ .Values.environment | quote }}
APP_GREETING: {{ .Values.app.greeting | quote }}
APP_LOG_LEVEL: {{ .Values.app.logLevel | quote }}
WEB_PORT: "8080"
WEB_WORKERS: {{ .Values.gunicorn.workers | quote }}
WEB_THREADS: {{ .Values.gunicorn.threads | quote }}
WEB_GRACEFUL_TIMEOUT_SECONDS: {{ .Values.gunicorn.gracefulTimeoutSeconds | quote }}
WEB_TIMEOUT_SECONDS: {{ .Values.gunicorn.timeoutSeconds | quote }}
WEB_KEEP_ALIVE_SECONDS: {{ .Values.gunicorn.keepAliveSeconds | quote }}
FAULT_NEVER_READY: {{ .Values.faults.neverReady | quote }}
FAULT_CRASH_AT_START: {{ .Values.faults.crashAtStart | quote }}
FAULT_CRASH_AFTER_SECONDS: {{ .Values.faults.crashAfterSeconds | quote }}
FAULT_ERROR_RATE: {{ .Values.faults.errorRate | quote }}
FAULT_LATENCY_SECONDS: {{ .Values.faults.latencySeconds | quote }}
{{- /* int64: Helm reads numbers as floats, and would write 1048576 as 1.048576e+06 */}}
FAULT_MEMORY_GROWTH_BYTES_PER_SECOND: {{ .Values.faults.memoryGrowthBytesPerSecond | int64 | quote }}
{{- end -}}
