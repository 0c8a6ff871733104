# Quickstep from Terraform: the packaged template, deployed as the CloudFormation stack that it is.
#
#   make build
#   sam package --s3-bucket BUCKET --s3-prefix quickstep --output-template-file packaged.yaml
#   terraform init && terraform apply -var bucket=BUCKET -var endpoint_name=llm -var inference_component_name=chat
#
# `sam package` uploads the code; the template itself is above the 51,200 bytes that a stack takes inline, so it goes to
# the bucket too.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "bucket" {
  description = "Bucket that sam package uploaded to, in the region of the endpoint."
  type        = string
}

variable "packaged_template" {
  description = "What sam package wrote."
  type        = string
  default     = "packaged.yaml"
}

variable "stack_name" {
  description = "Name of the stack; names of alarms, state machine and schedules begin with it."
  type        = string
  default     = "quickstep"
}

variable "endpoint_name" {
  description = "SageMaker endpoint that is scaled."
  type        = string
}

variable "inference_component_name" {
  description = "Inference component that is scaled by copies; empty to scale the variant's instances."
  type        = string
  default     = ""
}

variable "min_capacity" {
  description = "Fewest copies (or instances); 0 lets a component sleep."
  type        = number
  default     = 1
}

variable "max_capacity" {
  description = "Most copies (or instances)."
  type        = number
  default     = 4
}

variable "target_per_copy" {
  description = "Requests in flight that one copy should carry."
  type        = number
  default     = 5
}

data "aws_s3_bucket" "code" {
  bucket = var.bucket
}

resource "aws_s3_object" "template" {
  bucket = data.aws_s3_bucket.code.id
  # A new name for a new template: CloudFormation reads the address once, when the stack is created or updated.
  key    = "quickstep/template-${filemd5(var.packaged_template)}.yaml"
  source = var.packaged_template
}

resource "aws_cloudformation_stack" "quickstep" {
  name         = var.stack_name
  template_url = "https://${data.aws_s3_bucket.code.bucket_regional_domain_name}/${aws_s3_object.template.key}"

  # The template has roles without names of their own, and the SAM transform.
  capabilities       = ["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"]
  timeout_in_minutes = 30

  parameters = {
    EndpointName                         = var.endpoint_name
    InferenceComponentName               = var.inference_component_name
    MinCapacity                          = var.min_capacity
    MaxCapacity                          = var.max_capacity
    TargetConcurrentRequestsPerCopy      = var.target_per_copy
    HighAlarmThresholdConcurrentRequests = var.target_per_copy
    LowAlarmThresholdConcurrentRequests  = 0.9 * var.target_per_copy
  }

  tags = {
    application = "quickstep"
  }
}

output "control_url" {
  description = "Application Auto Scaling's API over HTTP, signed for lambda."
  value       = aws_cloudformation_stack.quickstep.outputs["ControlUrl"]
}

output "control_service_token" {
  description = "ServiceToken of Custom::QuickstepScalableTarget and Custom::QuickstepScalingPolicy."
  value       = aws_cloudformation_stack.quickstep.outputs["ControlServiceToken"]
}
