{{- define "microservice-operator.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "microservice-operator.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 63 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "microservice-operator.chart" -}}
{{- printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "microservice-operator.selectorLabels" -}}
app.kubernetes.io/name: {{ include "microservice-operator.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "microservice-operator.labels" -}}
helm.sh/chart: {{ include "microservice-operator.chart" . }}
{{ include "microservice-operator.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end -}}

{{- define "microservice-operator.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "microservice-operator.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- required "serviceAccount.create is false: name an account that only the operator uses in serviceAccount.name" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "microservice-operator.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* Whether AnalysisProviders are read, which belong to the cluster; empty for no. */ -}}
{{- define "microservice-operator.readsProviders" -}}
{{- $read := .Values.analysisProviders.read -}}
{{- if or (eq $read "Always") (and (eq $read "Auto") (not .Values.watchNamespaces)) }}true{{ end -}}
{{- end -}}

{{- define "microservice-operator.providerRule" -}}
# Where the numbers of analyses come from.
- apiGroups: [microservice-operator.dev]
  resources: [analysisproviders]
  verbs: [list, watch]
# Whom rollouts call.
- apiGroups: [microservice-operator.dev]
  resources: [rolloutwebhooks]
  verbs: [get]
{{- end -}}

{{- /* What the operator does in every namespace that it serves. */ -}}
{{- define "microservice-operator.rules" -}}
- apiGroups: [microservice-operator.dev]
  resources: [microservices]
  verbs: [get, list, watch]
- apiGroups: [microservice-operator.dev]
  resources: [microserviceactions]
  verbs: [list, watch, delete]
- apiGroups: [microservice-operator.dev]
  resources: [microservices/status, microserviceactions/status]
  verbs: [patch]
# To own objects where the admission plugin OwnerReferencesPermissionEnforcement is on.
- apiGroups: [microservice-operator.dev]
  resources: [microservices/finalizers]
  verbs: [update]
- apiGroups: [apps]
  resources: [deployments, controllerrevisions]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services, serviceaccounts]
  verbs: [list, watch, create, patch, delete]
# To copy the ConfigMaps that revisions are made of.
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [networking.istio.io]
  resources: [virtualservices, destinationrules]
  verbs: [list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create]
{{- end -}}
