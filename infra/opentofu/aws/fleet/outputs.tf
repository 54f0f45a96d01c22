output "instances" {
  description = "EC2 instance, AMI and address of every managed id."
  value = {
    for id, instance in aws_instance.clawdinator : id => {
      instance_id = instance.id
      ami         = instance.ami
      private_ip  = instance.private_ip
    }
  }
}
