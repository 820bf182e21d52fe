{{- define "headrace.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 30 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | replace "." "-" | trunc 30 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | replace "." "-" | trunc 30 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "headrace.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/name: headrace
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "headrace.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "headrace.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "headrace.image" -}}
{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end -}}

{{- /* What is the same for all apps, and what an app has for itself. Takes (list root name); gives YAML. */ -}}
{{- define "headrace.app" -}}
{{- $root := index . 0 -}}
{{- $shared := pick $root.Values "replicas" "mode" "workers" "parallelism" "guarantee" "settings" "resources" "persistence" "autoscaling" -}}
{{- $app := mergeOverwrite (deepCopy $shared) (deepCopy (index $root.Values.apps (index . 1))) -}}
{{- if and (ne $app.autoscaling.type "none") (lt (int $app.autoscaling.maxReplicas) (int $app.autoscaling.minReplicas)) -}}
{{- fail (printf "apps.%s: autoscaling.maxReplicas (%d) is less than minReplicas (%d)" (index . 1) (int $app.autoscaling.maxReplicas) (int $app.autoscaling.minReplicas)) -}}
{{- end -}}
{{- toYaml $app -}}
{{- end -}}

{{- define "headrace.appSelector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: headrace
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end -}}

{{- define "headrace.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end -}}

{{- define "headrace.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{- /* A value as text in quotes. Helm holds whole numbers as floats, and would write 1e+06. */ -}}
{{- define "headrace.text" -}}
{{- if and (kindIs "float64" .) (eq (floor .) .) -}}
{{- . | int64 | toString | quote -}}
{{- else -}}
{{- . | toString | quote -}}
{{- end -}}
{{- end -}}
