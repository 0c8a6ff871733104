"""Quickstep from the AWS CDK: the packaged template as a nested stack, beside whatever else the app deploys.

make build
sam package --s3-bucket BUCKET --s3-prefix quickstep --output-template-file packaged.yaml
pip install "aws-cdk-lib>=2.150" constructs
cdk deploy --app "python3 examples/install/cdk/app.py" -c template=packaged.yaml -c endpoint=llm -c component=chat

`sam package` uploads the code; the asset below uploads the template. `cdk deploy` grants CAPABILITY_IAM and
CAPABILITY_AUTO_EXPAND, which roles and the SAM transform need, by itself.
"""

from aws_cdk import App, CfnOutput, CfnStack, Stack
from aws_cdk.aws_s3_assets import Asset
from constructs import Construct


class QuickstepStack(Stack):
    """A stack whose one resource is Quickstep. `parameters` are those of its template, all of them text."""

    def __init__(self, scope: Construct, name: str, *, template: str, parameters: dict[str, str]) -> None:
        super().__init__(scope, name)
        uploaded = Asset(self, "Template", path=template)
        quickstep = CfnStack(
            self,
            "Quickstep",
            template_url=uploaded.http_url,
            parameters=parameters,
            timeout_in_minutes=30,
        )
        for output in ("ControlUrl", "ControlServiceToken"):
            CfnOutput(self, output, value=quickstep.get_att(f"Outputs.{output}").to_string())


app = App()
target_per_copy = float(app.node.try_get_context("target") or 5)
QuickstepStack(
    app,
    "quickstep",
    template=app.node.try_get_context("template") or "packaged.yaml",
    parameters={
        "EndpointName": app.node.try_get_context("endpoint") or "llm",
        "InferenceComponentName": app.node.try_get_context("component") or "",
        "MinCapacity": app.node.try_get_context("min") or "1",
        "MaxCapacity": app.node.try_get_context("max") or "4",
        "TargetConcurrentRequestsPerCopy": f"{target_per_copy:g}",
        "HighAlarmThresholdConcurrentRequests": f"{target_per_copy:g}",
        "LowAlarmThresholdConcurrentRequests": f"{0.9 * target_per_copy:g}",
    },
)
app.synth()
