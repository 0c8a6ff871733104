"""A small SAM application for the tests of the emulated account: one alarm, one rule, three functions, one table."""

from __future__ import annotations

from pathlib import Path

TEMPLATE = """
AWSTemplateFormatVersion: '2010-09-09'
Transform: AWS::Serverless-2016-10-31
Parameters:
  TargetPerCopy: {Type: Number, Default: 20, MinValue: 1, MaxValue: 1000}
  ComponentName: {Type: String, Default: chat, AllowedPattern: '[a-z0-9-]+', ConstraintDescription: use lower-case letters}
  Mode: {Type: String, Default: act, AllowedValues: [act, shadow]}
  AlarmTopicArn: {Type: String, Default: ''}
Conditions:
  Shadow: !Equals [!Ref Mode, shadow]
  HasTopic: !Not [!Equals [!Ref AlarmTopicArn, '']]
Globals:
  Function:
    Runtime: python3.13
    Handler: app.handler
    Timeout: 10
    MemorySize: 512
    Environment:
      Variables: {TARGET_PER_COPY: !Ref TargetPerCopy, TABLE_NAME: !Ref StateTable, STACK_NAME: !Ref AWS::StackName}
Resources:
  HighAlarm:
    Type: AWS::CloudWatch::Alarm
    Properties:
      AlarmName: !Sub '${AWS::StackName}--${ComponentName}-high'
      AlarmDescription: Requests per copy are above the target.
      Namespace: AWS/SageMaker
      MetricName: ConcurrentRequestsPerCopy
      Dimensions: [{Name: InferenceComponentName, Value: !Ref ComponentName}]
      Statistic: Maximum
      Period: 10
      EvaluationPeriods: 3
      DatapointsToAlarm: 2
      Threshold: !Ref TargetPerCopy
      ComparisonOperator: GreaterThanThreshold
      TreatMissingData: notBreaching
      AlarmActions: !If [HasTopic, [!Ref AlarmTopicArn], !Ref AWS::NoValue]
  StateTable:
    Type: AWS::DynamoDB::Table
    Properties:
      BillingMode: PAY_PER_REQUEST
      AttributeDefinitions: [{AttributeName: pk, AttributeType: S}]
      KeySchema: [{AttributeName: pk, KeyType: HASH}]
      TimeToLiveSpecification: {AttributeName: expires_at_s, Enabled: true}
      PointInTimeRecoverySpecification: {PointInTimeRecoveryEnabled: true}
  LostEvents:
    Type: AWS::SQS::Queue
    Properties: {MessageRetentionPeriod: 1209600}
  LostEventsPolicy:
    Type: AWS::SQS::QueuePolicy
    Properties:
      Queues: [!Ref LostEvents]
      PolicyDocument:
        Version: 2012-10-17
        Statement:
          - Effect: Allow
            Principal: {Service: events.amazonaws.com}
            Action: sqs:SendMessage
            Resource: !GetAtt LostEvents.Arn
            Condition: {ArnLike: {aws:SourceArn: !Sub 'arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:rule/*'}}
  Core:
    Type: AWS::Serverless::LayerVersion
    Properties: {ContentUri: layers/core, CompatibleRuntimes: [python3.13]}
  OnAlarm:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/on_alarm/
      Layers: [!Ref Core]
      DeadLetterQueue: {Type: SQS, TargetArn: !GetAtt LostEvents.Arn}
      Events:
        Alarm:
          Type: EventBridgeRule
          Properties:
            Pattern:
              source: [aws.cloudwatch]
              detail-type: [CloudWatch Alarm State Change]
              account: [!Ref AWS::AccountId]
              resources: [{prefix: !Sub 'arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:${AWS::StackName}--'}]
            RetryPolicy: {MaximumRetryAttempts: 3, MaximumEventAgeInSeconds: 300}
            DeadLetterConfig: {Arn: !GetAtt LostEvents.Arn}
      EventInvokeConfig: {MaximumRetryAttempts: 2, MaximumEventAgeInSeconds: 600}
      Policies:
        - Version: 2012-10-17
          Statement:
            - {Effect: Allow, Action: [dynamodb:GetItem, dynamodb:UpdateItem], Resource: !GetAtt StateTable.Arn}
            - Effect: Allow
              Action: cloudwatch:PutMetricData
              Resource: '*'
              Condition: {StringEquals: {cloudwatch:namespace: Quickstep}}
            - {Effect: Allow, Action: states:StartExecution, Resource: !Ref Loop}
  Reconcile:
    Type: AWS::Serverless::Function
    Properties:
      CodeUri: functions/reconcile/
      Events:
        EveryMinute:
          Type: ScheduleV2
          Properties:
            ScheduleExpression: rate(1 minute)
            RetryPolicy: {MaximumRetryAttempts: 0}
      Policies: [{Statement: [{Effect: Allow, Action: cloudwatch:DescribeAlarms, Resource: '*'}]}]
  Shadow:
    Type: AWS::Serverless::Function
    Condition: Shadow
    Properties: {CodeUri: functions/reconcile/}
  Loop:
    Type: AWS::Serverless::StateMachine
    Properties:
      DefinitionUri: loop.asl.yaml
      DefinitionSubstitutions: {TickSeconds: 10, DecideArn: !GetAtt Reconcile.Arn}
      Policies: [{Statement: [{Effect: Allow, Action: lambda:InvokeFunction, Resource: !GetAtt Reconcile.Arn}]}]
  Forecast:
    Type: Custom::Forecast
    Properties: {ServiceToken: !GetAtt Reconcile.Arn}
Outputs:
  TableName: {Description: Where the state lives, Value: !Ref StateTable}
  ShadowName: {Condition: Shadow, Description: The shadow function, Value: !Ref Shadow}
"""

LOOP = """
Comment: waits and looks again
StartAt: Look
States:
  Look: {Type: Task, Resource: '${DecideArn}', Next: WaitTick}
  WaitTick: {Type: Wait, Seconds: 10, Comment: 'a tick is ${TickSeconds} s', End: true}
"""

ON_ALARM = """
import json
import os

import boto3

STARTED = []
table = boto3.client("dynamodb")


def handler(event, context):
    STARTED.append(context.aws_request_id)
    name = event["detail"]["alarmName"]
    seen = table.update_item(
        TableName=os.environ["TABLE_NAME"],
        Key={"pk": {"S": name}},
        UpdateExpression="ADD seen :one",
        ExpressionAttributeValues={":one": {"N": "1"}},
        ReturnValues="ALL_NEW",
    )["Attributes"]["seen"]["N"]
    print(json.dumps({"alarm": name, "state": event["detail"]["state"]["value"], "seen": int(seen)}))
    return {"seen": int(seen), "invocations_of_this_environment": len(STARTED)}
"""

RECONCILE = """
RUNS = []


def handler(event, context):
    RUNS.append(context.aws_request_id)
    return {"runs": len(RUNS)}
"""


def write_sample(
    folder: Path, *, on_alarm: str = ON_ALARM, reconcile: str = RECONCILE, template: str = TEMPLATE
) -> Path:
    """Write the application into `folder`; returns the path of its template."""
    for path, text in {
        "template.yaml": template,
        "loop.asl.yaml": LOOP,
        "functions/on_alarm/app.py": on_alarm,
        "functions/reconcile/app.py": reconcile,
        "layers/core/requirements.txt": "",
    }.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder / "template.yaml"
